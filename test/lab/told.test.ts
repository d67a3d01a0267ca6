/** What guests are told besides their address, by what real clients make of it: options by number, and a machine that boots from the network. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { patience } from "../../src/lab/patience.ts";
import { applyText, eventually, type GuardedLab, guestAt, raiseGuardedLab, siteText } from "../support/guarded-lab.ts";

const own = process.pid.toString(36);
const ROM_MAC = "52:54:00:00:00:09";

let guarded: GuardedLab;

/** The lab's network, which tells more, and a guest that boots from the network. */
function site(): string {
  const { topology } = guarded.lab;
  const server = topology.neighbour.address;
  const addressing = `{ kind: managed, macScheme: ip, domain: example.net, boot: { server: ${server} },
    options: [{ code: 224, hex: "de:ad:be:ef", always: true }, { code: 150, addresses: [${server}] }, { code: 240, hex: "${"ab".repeat(120)}" }, { code: 241, hex: "${"cd".repeat(110)}" }],
    classes: [{ name: ipxe, when: { userClass: iPXE }, tell: { boot: { file: boot.ipxe } } },
              { name: rom, when: { vendorClass: PXEClient }, tell: { boot: { file: undionly.kpxe } } }] }`;
  return `${siteText(topology).replace("{ kind: managed, macScheme: ip }", addressing)}---
kind: guest
name: pxe
spec: { nics: [{ network: lan0, mac: "${ROM_MAC}", address4: 203.0.113.77, tell: { hostname: netboot } }] }
`;
}

beforeAll(async () => {
  guarded = await raiseGuardedLab(`told${own}`, 1);
  await applyText(guarded, site());
});
afterAll(() => guarded?.lab.down());

describe("options by number, as clients read them from the wire", () => {
  const SHOW = '#!/bin/sh\nset >>"$VIFGUARD_TOLD"\n';

  test("udhcpc: told to all, or asked for; and in the fields of a message that has no more room (option 52)", async () => {
    const { lab } = guarded;
    const script = `${lab.directory}/show`;
    const file = `${lab.directory}/told`;
    writeFileSync(script, SHOW, { mode: 0o700 });
    const ask = (...options: readonly string[]) =>
      lab.must("guest1", [
        ...[
          "env",
          `VIFGUARD_TOLD=${file}`,
          "udhcpc",
          "-i",
          "eth0",
          "-f",
          "-q",
          "-n",
          "-t",
          "8",
          "-T",
          "1",
          "-s",
          script,
        ],
        ...options.flatMap((option) => ["-O", option]),
      ]);
    await ask("150", "240", "241");
    const told = readFileSync(file, "utf8");
    expect(told).toContain("opt224='deadbeef'");
    expect(told).toContain(
      `opt150='${Buffer.from([203, 0, 113, Number(lab.topology.neighbour.address.split(".")[3])]).toString("hex")}'`,
    );
    expect(told).toMatch(/siaddr='203\.0\.113\.\d+'/);
    for (const [code, octet, count] of [
      [240, "ab", 120],
      [241, "cd", 110],
    ] as const)
      expect(told).toContain(`opt${code}='${octet.repeat(count)}'`);
    writeFileSync(file, "");
    await ask();
    const silent = readFileSync(file, "utf8");
    expect(silent, "control").toContain("opt224='deadbeef'");
    expect(silent).not.toContain("opt150");
  });
});

describe("an address that somebody else on the LAN has (conflictDetection)", () => {
  const IMPATIENT = ["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "2", "-T", "1", "-s", "/bin/true"];

  test("is not offered while it is so, and its quarantine ends with the lease's release", async () => {
    const { lab, client, guests } = guarded;
    const { address } = guestAt(guests, 0);
    const asks = async (): Promise<boolean> => (await lab.exec("guest1", IMPATIENT)).status === 0;
    const conditions = async (): Promise<readonly string[]> =>
      (await client.status()).conditions.filter(({ code }) => code === "ADDRESS_CONFLICT").map(({ text }) => text);
    await lab.must("guest1", ["ip", "-4", "address", "flush", "dev", "eth0"]);
    await client.releaseLease("lan0", address);
    await lab.must("neighbour", ["ip", "address", "add", `${address}/32`, "dev", "eth0"]);
    expect(await asks(), "the LAN is not asked unless it is wanted").toBe(true);

    await applyText(guarded, site().replace("domain: example.net", "domain: example.net, conflictDetection: true"));
    await client.releaseLease("lan0", address);
    expect(await asks()).toBe(false);
    expect(await conditions()).toEqual([expect.stringContaining(`${address} of guest1 is used by`)]);
    expect(await client.leases({})).toContainEqual(expect.objectContaining({ address, state: "declined" }));

    await lab.must("neighbour", ["ip", "address", "del", `${address}/32`, "dev", "eth0"]);
    expect(await asks(), "in quarantine").toBe(false);
    await client.releaseLease("lan0", address);
    expect(await asks(), "control: free again").toBe(true);
    expect(await conditions()).toEqual([]);
  });
});

describe.runIf(process.arch === "x64")("a machine whose NIC has iPXE in its ROM", () => {
  test(
    "boots by what its class is told, with the names and addresses that were told",
    async () => {
      const { lab, client } = guarded;
      const root = `${lab.directory}/tftp`;
      mkdirSync(root);
      writeFileSync(
        `${root}/boot.ipxe`,
        `#!ipxe\nimgfetch tftp://\${next-server}/seen-\${ip}-\${hostname}-\${224:hexraw} ||\npoweroff\n`,
      );
      const log = `${lab.directory}/tftp.log`;
      const tftp = [
        "--port=0",
        "--enable-tftp",
        `--tftp-root=${root}`,
        "--user=root",
        "--log-facility=-",
        "--pid-file=",
      ];
      const server = await lab.start(
        "neighbour",
        ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", ...tftp],
        "tftp.log",
      );
      await lab.must("host", ["ip", "tuntap", "add", "vif9.0", "mode", "tap"]);
      await client.attach({ port: "vif9.0", guest: "pxe" });
      const machine = await lab.start(
        "host",
        [
          ...["qemu-system-x86_64", "-accel", "tcg", "-m", "64", "-nodefaults", "-no-user-config", "-display", "none"],
          ...["-boot", "n", "-netdev", "tap,id=n0,ifname=vif9.0,script=no,downscript=no"],
          ...["-device", `virtio-net-pci,netdev=n0,mac=${ROM_MAC}`],
        ],
        "machine.log",
      );
      const seen = (): string => readFileSync(log, "utf8");
      const wanted = "seen-203.0.113.77-netboot-deadbeef";
      const isBooted = await eventually(async () => seen().includes(wanted), 40_000);
      await machine.stop("SIGKILL");
      await server.stop();
      expect(isBooted, seen()).toBe(true);
      expect(seen()).toContain("boot.ipxe");
      expect(seen(), "what other loaders are told").not.toContain("undionly.kpxe");
    },
    patience(60_000),
  );
});
