/** What the agent relies on when it asks a link for an address: the memory double and the kernel give the same answers. */
import { afterAll, describe, expect, test } from "vitest";
import type { Probes } from "../../src/kernel/probes.ts";
import { memoryProbes } from "../../src/kernel/probes-memory.ts";
import { openProbes } from "../../src/kernel/probes-netlink.ts";
import { macOf } from "../codec-laws.ts";
import { command, ownNamespace } from "../support/namespace.ts";

const own = ownNamespace("probes");
const lan = `${own}-lan`;
const MAC = "02:00:00:00:00:09";
const octets = (text: string): Uint8Array => Uint8Array.from(text.split("."), Number);
const HELD = octets("203.0.113.9");

// A bridge without an address of its own, and a machine behind it: what a host of guests has.
command("ip", "netns", "add", lan);
command("ip", "link", "add", "br0", "type", "bridge");
command("ip", "link", "add", "eth0", "master", "br0", "type", "veth", "peer", "name", "eth0", "netns", lan);
for (const name of ["lo", "br0", "eth0"]) command("ip", "link", "set", name, "up");
for (const words of [
  ["link", "set", "eth0", "address", MAC, "up"],
  ["address", "add", "203.0.113.9/24", "dev", "eth0"],
])
  command("ip", "-n", lan, ...words);
afterAll(() => void command("ip", "netns", "del", lan));

const bridge = Number(/^\d+/.exec(command("ip", "-o", "link", "show", "dev", "br0"))?.[0]);
const neighbours = (): string => command("ip", "neigh", "show", "dev", "br0");

function memory(): Probes {
  const probes = memoryProbes();
  probes.place(bridge, HELD, macOf(MAC));
  return probes;
}

describe.each([
  ["memory", memory],
  ["kernel", openProbes],
] as const)("%s", (_name, open) => {
  test("who has the address answers, nobody else, and a question taken back leaves nothing", async () => {
    const probes = open();
    expect(probes.answer(bridge, HELD), "not asked yet").toBeUndefined();
    expect(probes.ask(bridge, HELD)).toBe(true);
    await expect.poll(() => probes.answer(bridge, HELD), { timeout: 2_000 }).toBe(MAC);
    expect(probes.ask(bridge, octets("203.0.113.77"))).toBe(true);
    expect(probes.answer(bridge, octets("203.0.113.77"))).toBeUndefined();
    probes.forget(bridge, HELD);
    probes.forget(bridge, octets("203.0.113.77"));
    expect(probes.answer(bridge, HELD)).toBeUndefined();
    expect(neighbours()).not.toMatch(/203\.0\.113\.(?:9|77) .*lladdr/);
    probes.close();
  });
});

describe("kernel", () => {
  test("what was known before is not believed, and a permanent entry is left alone", async () => {
    const probes = openProbes();
    command("ip", "neigh", "replace", "203.0.113.78", "lladdr", "02:00:00:00:00:0a", "dev", "br0", "nud", "stale");
    expect(probes.ask(bridge, octets("203.0.113.78"))).toBe(true);
    expect(probes.answer(bridge, octets("203.0.113.78")), "control: it stood there").toBeUndefined();
    command("ip", "neigh", "replace", "203.0.113.79", "lladdr", "02:00:00:00:00:0b", "dev", "br0", "nud", "permanent");
    expect(probes.ask(bridge, octets("203.0.113.79"))).toBe(false);
    probes.forget(bridge, octets("203.0.113.79"));
    expect(neighbours()).toContain("203.0.113.79 lladdr 02:00:00:00:00:0b PERMANENT");
    expect(probes.ask(999_999, HELD), "no such interface").toBe(false);
    probes.close();
  });
});
