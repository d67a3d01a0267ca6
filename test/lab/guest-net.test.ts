/**
 * The script that guests run (guest/vifguard-net), by the shells and with the ip programs that guests have: it reads what the codec writes, and
 * leaves a NIC as it should be.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { settingsFromMac } from "../../src/addressing/net-mac.ts";
import { exec, must } from "../../src/lab/exec.ts";
import { macFromBytes } from "../../src/model/mac.ts";

const script = fileURLToPath(new URL("../../guest/vifguard-net", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "vifguard-guest-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** Programs that a guest has: a PATH of busybox alone, or the machine's own. */
const busybox = join(directory, "busybox");
execFileSync("busybox", ["mkdir", busybox]);
for (const applet of ["ip", "cat", "grep", "ls", "sed"]) symlinkSync("/bin/busybox", join(busybox, applet));

const guests = [
  { name: "dash, iproute2", shell: ["dash"], path: "/usr/sbin:/usr/bin:/sbin:/bin" },
  { name: "busybox sh, busybox ip", shell: ["busybox", "sh"], path: busybox },
  { name: "bash, iproute2", shell: ["bash", "--posix"], path: "/usr/sbin:/usr/bin:/sbin:/bin" },
] as const;

const own = process.pid.toString(36);

describe.each(guests)("$name", ({ shell, path }) => {
  const [program, ...rest] = shell;
  const netns = `vgt-gn-${own}`;
  const far = `vgt-gf-${own}`;
  const argv = (...words: readonly string[]): readonly string[] => [`/usr/bin/${program}`, ...rest, script, ...words];
  const run = (cmdline: string, ...words: readonly string[]) => {
    const file = join(directory, "cmdline");
    writeFileSync(file, `BOOT_IMAGE=/vmlinuz ${cmdline} quiet\n`);
    return exec(["env", `PATH=${path}`, `VIFGUARD_CMDLINE=${file}`, ...argv(...words)], { netns });
  };
  const shown = async (...words: readonly string[]): Promise<string> =>
    (await must(["ip", "-n", netns, ...words])).replaceAll(/ +/g, " ").trim();

  /** The other ends are elsewhere: their MACs are the kernel's to draw and could spell anything. */
  async function raise(macs: readonly string[]): Promise<void> {
    for (const box of [netns, far]) {
      await must(["ip", "netns", "add", box]);
      await must(["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"], { netns: box });
    }
    for (const [n, mac] of macs.entries()) {
      const near = ["link", "add", `eth${n}`, "address", mac, "type", "veth", "peer", "name", `p${n}`, "netns", far];
      await must(["ip", "-n", netns, ...near]);
      await must(["ip", "-n", far, "link", "set", `p${n}`, "up"]);
    }
  }
  async function lower(): Promise<void> {
    for (const box of [netns, far]) await exec(["ip", "netns", "del", box]);
  }

  describe("MACs", () => {
    test("are read as the codec reads them, any of them", async () => {
      const any = fc.uint8Array({ minLength: 6, maxLength: 6 });
      const spelling = any.map((bytes) => bytes.with(0, ((bytes[0] ?? 0) & 0xf0) | 2));
      const macs = fc
        .sample(fc.oneof(any, spelling, spelling), { numRuns: 600, seed: 7 })
        .map((bytes) => macFromBytes(bytes));
      const said = await must(["env", `PATH=${path}`, ...argv("decode", ...macs)]);
      const expected = macs.map((mac) => {
        const settings = settingsFromMac(mac);
        return settings === undefined
          ? `${mac} -`
          : `${mac} ${settings.address}/${settings.length},${settings.gateway}`;
      });
      expect(said.trimEnd().split("\n")).toEqual(expected);
      expect(expected.filter((line) => !line.endsWith("-")).length).toBeGreaterThan(200);
    });

    test.each(["", "02:01:0a:00:00", "02:01:0a:00:00:05:06", "02:01:0a:00:00:0g", "$(id)", "*"])(
      "'%s' is none",
      async (text) => {
        expect(await must(["env", `PATH=${path}`, ...argv("decode", text)])).toBe(`${text} -\n`);
      },
    );
  });

  describe("a guest with three NICs", () => {
    beforeAll(() => raise(["82:01:cb:00:71:0a", "02:01:c6:33:64:07", "52:54:00:12:34:56"]));
    afterAll(lower);

    test("configures what its MACs spell, and no other NIC", async () => {
      const { status, stdout } = await run("", "mac");
      expect(stdout).toBe(
        "vifguard-net: eth0 203.0.113.10/24 via 203.0.113.1 (MAC)\nvifguard-net: eth1 198.51.100.7/32 via 198.51.100.1 (MAC)\n",
      );
      expect(status).toBe(0);
      expect(await shown("-4", "-o", "address", "show", "dev", "eth0")).toContain(
        "inet 203.0.113.10/24 brd 203.0.113.255",
      );
      expect(await shown("-4", "-o", "address", "show", "dev", "eth1")).toContain("inet 198.51.100.7/32");
      expect(await shown("-4", "-o", "address", "show", "dev", "eth2")).toBe("");
      expect(await shown("-4", "route", "show", "default")).toBe("default via 203.0.113.1 dev eth0");
      expect(await shown("link", "show", "eth2")).toContain("state DOWN");
    });

    test("a second time changes nothing", async () => {
      const before = await shown("-o", "address");
      expect((await run("", "mac")).status).toBe(0);
      expect(await shown("-o", "address")).toBe(before);
    });
  });

  describe("a guest with words on its command line", () => {
    beforeAll(() => raise(["02:00:00:00:00:01", "82:01:cb:00:71:0b"]));
    afterAll(lower);
    const words = "vifguard.eth0=192.0.2.10/24,192.0.2.1 vifguard.eth0=2001:db8:66::10/64,fe80::1";

    test("configures both families; NICs that are not named by their MACs", async () => {
      const { status, stdout, stderr } = await run(words, "cmdline", "mac");
      expect(stderr).toBe("");
      expect(status, stdout).toBe(0);
      expect(await shown("-4", "-o", "address", "show", "dev", "eth0")).toContain("inet 192.0.2.10/24");
      expect(await shown("-6", "-o", "address", "show", "dev", "eth0", "scope", "global")).toContain(
        "2001:db8:66::10/64",
      );
      expect(await shown("-4", "-o", "address", "show", "dev", "eth1")).toContain("inet 203.0.113.11/24");
      expect(await shown("-4", "route", "show", "default")).toBe("default via 192.0.2.1 dev eth0");
      expect(await shown("-6", "route", "show", "default")).toContain("default via fe80::1 dev eth0");
    });

    test("a gateway outside the prefix is reached on the link", async () => {
      await shown("address", "flush", "dev", "eth0");
      expect((await run("vifguard.eth0=192.0.2.10/32,198.51.100.1", "cmdline")).status).toBe(0);
      expect(await shown("-4", "route", "get", "8.8.8.8")).toContain("via 198.51.100.1 dev eth0 src 192.0.2.10");
    });
  });

  describe("what it refuses", () => {
    beforeAll(() => raise(["02:00:00:00:00:01"]));
    afterAll(lower);

    test.each([
      ["vifguard.eth0=192.0.2.10", 1],
      ["vifguard.eth0=192.0.2.10/24/25", 1],
      ["vifguard.eth0=192.0.2.10/24,192.0.2.1,192.0.2.2", 1],
      ["vifguard.eth0=$(id>x)/24", 1],
      ["vifguard.eth0=192.0.2.10/-4", 1],
      ["vifguard.et;h0=192.0.2.10/24", 1],
      ["vifguard.eth0=192.0.2.300/24", 1],
      ["vifguard.eth9=192.0.2.10/24", 1],
      ["vifguardXeth0=192.0.2.10/24", 3],
      ["", 3],
    ])("%s: status %i, and no address", async (word, status) => {
      expect((await run(word, "cmdline")).status).toBe(status);
      expect(await shown("-4", "-o", "address", "show", "dev", "eth0")).toBe("");
      expect((await run("vifguard.eth0=192.0.2.10/24", "cmdline")).status, "control").toBe(0);
      await shown("address", "flush", "dev", "eth0");
    });

    test("words it does not know: status 2, with its usage", async () => {
      const { status, stderr } = await run("", "configure");
      expect(status).toBe(2);
      expect(stderr).toContain("usage: vifguard-net cmdline");
    });
  });
});
