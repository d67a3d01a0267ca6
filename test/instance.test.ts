/** Who a host is, as its state directory remembers it; and what the embedded store makes of a name that is nobody else's to have. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { addressOfHost, identityOf, keepInstance } from "../src/agent/instance.ts";
import { memoryLinks } from "../src/kernel/links-memory.ts";
import { memoryNft } from "../src/kernel/nft-memory.ts";
import { openEmbeddedStore } from "../src/store/embedded.ts";
import { clock, startMemoryAgent } from "./support/memory-agent.ts";

const made: string[] = [];
afterEach(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true });
});
function directory(): string {
  const path = mkdtempSync(join(tmpdir(), "vifguard-instance-"));
  made.push(path);
  return path;
}

const machineId = (): string => (existsSync("/etc/machine-id") ? readFileSync("/etc/machine-id", "utf8").trim() : "");

test("an instance is made once, is of one state directory, and is made anew when its file is damaged", () => {
  const [here, there] = [directory(), directory()];
  const first = identityOf(here, "boot/1");
  expect(first).toMatchObject({ epoch: "boot/1", machine: machineId() });
  expect(identityOf(here, "boot/2").instance, "whatever the boot").toBe(first.instance);
  expect(identityOf(there, "boot/1").instance).not.toBe(first.instance);
  expect(statSync(join(here, "instance")).mode & 0o777).toBe(0o600);
  keepInstance(there, first.instance);
  expect(identityOf(there, "boot/1")).toEqual(first);
  writeFileSync(join(here, "instance"), "no such thing\n");
  const again = identityOf(here, "boot/1").instance;
  expect([again === first.instance, identityOf(here, "boot/1").instance]).toEqual([false, again]);
});

test("the address that is told is no guest's port's, and reaches further than this machine", () => {
  expect(String(addressOfHost([]))).not.toMatch(/^(?:127\.|169\.254\.|fe80|::1)/);
  expect(addressOfHost(Object.keys(networkInterfaces()))).toBeUndefined();
});

test("on one host the name is whoever's the state directory is, also of a machine that was copied or renewed", async () => {
  const path = directory();
  const start = async (machine: string) => {
    const store = await openEmbeddedStore({ directory: path, clock });
    const presence = {
      identity: { instance: `i-${machine}`, machine, epoch: `boot-${machine}/1` },
      isAlone: true,
      keepInstance: () => undefined,
    };
    const agent = await startMemoryAgent({ nft: memoryNft(), links: memoryLinks(), store, presence });
    const [host] = await agent.operations.hosts({});
    const { entries } = await store.read("");
    await agent.stop();
    await store.close();
    return { host, alive: entries.get("alive/h1")?.value, record: entries.get("host/h1")?.value };
  };
  expect(await start("m1")).toMatchObject({
    host: { name: "h1", state: "up", ports: 0, version: "test" },
    alive: { instance: "i-m1" },
  });
  expect(await start("m2")).toMatchObject({
    host: { state: "up" },
    alive: { instance: "i-m2" },
    record: { machine: "m2" },
  });
});
