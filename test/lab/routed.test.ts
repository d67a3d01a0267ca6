/** Routed ports on the real kernel (contract sections 2, 3, 5): who reaches whom on one host and on two, what is put back, and what comes after a kill or a meddler. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { udpTo } from "../../src/lab/attack.ts";
import { type DhcpClient, getLease } from "../../src/lab/dhcp-client.ts";
import { ask, attachGuest, startAgent } from "../../src/lab/guarded.ts";
import { patience } from "../../src/lab/patience.ts";
import { isRoutedCopy } from "../../src/lab/routed-copy.ts";
import { sniff } from "../../src/lab/sniff.ts";
import { type GuestBox, globalOf } from "../../src/lab/topology.ts";
import { sendFrames } from "../../src/lab/trial.ts";
import { parseIpv4 } from "../../src/model/ipv4.ts";
import { HOST_PORT_MAC } from "../../src/model/wiring.ts";
import { toHex } from "../../src/packet/hex.ts";
import {
  agentPid,
  applyText,
  eventually,
  guestAt,
  isSilent,
  killAgent,
  pings,
  siteText,
} from "../support/guarded-lab.ts";
import {
  addForeignNetwork,
  addressRouted,
  type RoutedLab,
  raiseRoutedLab,
  routingOn,
  settingsOf,
} from "../support/routed-lab.ts";

const own = process.pid.toString(36);

describe.each(["address", "prefix"] as const)("guests that are given their %s, on two hosts", (gives) => {
  let routed: RoutedLab;
  beforeAll(async () => {
    routed = await raiseRoutedLab({ name: `rt${gives.charAt(0)}${own}`, guests: 3, hosts: 2 }, { gives });
  });
  afterAll(async () => {
    await routed?.lab.down();
  });

  test("reach each other, the gateway and the neighbour, and are reached, in both families", async () => {
    const { lab, guests } = routed;
    const { gateway, neighbour } = lab.topology;
    const [one, two, three] = [guestAt(guests, 0), guestAt(guests, 1), guestAt(guests, 2)];
    expect([one.on, two.on, three.on]).toEqual(["host", "host2", "host"]);
    const pairs: readonly (readonly [string, string])[] = [
      [one.box, three.address],
      [one.box, two.address],
      [two.box, three.address],
      [one.box, gateway.address],
      [one.box, neighbour.address],
      ["neighbour", one.address],
      ["neighbour", two.address],
      [one.box, globalOf(three)],
      [one.box, globalOf(two)],
      [one.box, globalOf(neighbour)],
      ["neighbour", globalOf(one)],
      ["neighbour", globalOf(two)],
    ];
    const failed: string[] = [];
    for (const [box, address] of pairs) if (!(await pings(lab, box, address))) failed.push(`${box} to ${address}`);
    expect(failed).toEqual([]);
  });

  test("a guest that moves to the other host is found there at once, with the gateway it knows", async () => {
    const { lab, guests, agentAt } = routed;
    const [first, second] = lab.topology.hosts;
    const guest = guestAt(guests, 2);
    const known = async (address: string): Promise<string> => lab.must("neighbour", ["ip", "neigh", "show", address]);
    for (const address of [guest.address, globalOf(guest)]) {
      expect(await pings(lab, "neighbour", address)).toBe(true);
      expect(await known(address)).toContain(first?.mac);
    }
    const gateway = (device: string): Promise<string> =>
      lab.must(guest.box, ["ip", "neigh", "show", gives === "address" ? "169.254.0.1" : "203.0.113.1", "dev", device]);
    await pings(lab, guest.box, "203.0.113.1");
    const before = await gateway("eth0");
    expect(before).toContain("fe:ff:ff:ff:ff:fe");
    // The same machine with a NIC on the other host: the first one is gone before the second opens.
    await ask(agentAt("host"), ["detach", guest.port]);
    await lab.must(guest.box, ["ip", "link", "set", "eth0", "name", "old0"]);
    await lab.must(guest.box, ["ip", "address", "flush", "dev", "old0"]);
    await lab.must("host2", [
      "ip",
      "link",
      "add",
      "vif9.0",
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      lab.netns(guest.box),
    ]);
    const moved = { ...guest, port: "vif9.0", on: "host2" as const };
    const begun = performance.now();
    await attachGuest(lab, agentAt("host2"), moved);
    await addressRouted(lab, moved, gives);
    for (const address of [guest.address, globalOf(guest)]) {
      expect(await pings(lab, "neighbour", address), address).toBe(true);
      expect(await known(address)).toContain(second?.mac);
    }
    expect(performance.now() - begun, "one exchange, no cache that runs out").toBeLessThan(patience(5_000));
    expect(await pings(lab, guest.box, "203.0.113.1")).toBe(true);
    expect((await gateway("eth0")).replace(/ [A-Z]+ ?$/m, "")).toBe(before.replace(/ [A-Z]+ ?$/m, ""));
    expect(await lab.must("host", ["ip", "neigh", "show", "proxy"])).not.toContain(guest.address);
  });

  test.each(["udhcpc", "dhclient", "dhcpcd"] as const satisfies readonly DhcpClient[])(
    "%s gets the address and a way out",
    async (client) => {
      const { lab, guests } = routed;
      const guest = guestAt(guests, 0);
      await lab.must(guest.box, ["ip", "-4", "address", "flush", "dev", "eth0"]);
      expect(await getLease(lab, guest.box, client)).toBe(guest.address);
      const shown = await lab.must(guest.box, ["ip", "-4", "-o", "address", "show", "dev", "eth0"]);
      expect(shown).toContain(`${guest.address}/${gives === "address" ? 32 : 24}`);
      expect(await pings(lab, guest.box, lab.topology.neighbour.address)).toBe(true);
      await lab.must(guest.box, ["ip", "-4", "address", "flush", "dev", "eth0"]);
      await addressRouted(lab, guest, gives);
    },
  );
});

describe("a routed host", () => {
  let routed: RoutedLab;
  let before: string;
  let one: GuestBox;
  let two: GuestBox;
  beforeAll(async () => {
    routed = await raiseRoutedLab({ name: `rth${own}`, guests: 2 });
    [one, two] = [guestAt(routed.guests, 0), guestAt(routed.guests, 1)];
    before = await traces();
  });
  afterAll(async () => {
    await routed?.lab.down();
  });

  const onHost = (...argv: string[]): Promise<string> => routed.lab.must("host", argv);

  const settings = (device: string): Record<string, number | undefined> => settingsOf(routed.lab, device);

  /** All that bears our number. */
  const traces = (): Promise<string> =>
    routingOn(routed.lab, (line) => /proto 118|proxy|169\.254\.0\.1|vif/.test(line));

  test("answers on the LAN for exactly the addresses of its guests", async () => {
    const { lab } = routed;
    const found = async (address: string): Promise<string> => {
      await lab.exec("neighbour", ["ping", "-n", "-c", "1", "-W", "1", address]);
      return lab.must("neighbour", ["ip", "neigh", "show", address]);
    };
    for (const address of [one.address, globalOf(one)]) expect(await found(address)).toContain(lab.topology.host.mac);
    for (const address of ["203.0.113.77", "2001:db8:66::77"])
      expect(await found(address), "nobody's").not.toContain("lladdr");
    const table = await onHost("ip", "neigh", "show", "proxy");
    expect(table.trim().split("\n").length, "of both families").toBe(4);
    expect(settings("eth0")).toMatchObject({ proxy4: 0, forwarding4: 1, forwarding6: 1, proxy6: 1 });
  });

  test("is nobody's router: not from a guest to another network of the host, nor back, nor from the LAN", async () => {
    const { lab, client } = routed;
    // A network between host and gateway that is not the guests'.
    await addForeignNetwork(lab);
    await lab.must("gw", ["ip", "address", "add", "198.51.100.2/24", "dev", "mgmt1"]);
    await lab.must("gw", ["ip", "link", "set", "mgmt1", "up"]);
    await onHost("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/mgmt0/forwarding");
    const astray = async (): Promise<readonly string[]> =>
      (await client.drops({})).filter(({ reason }) => reason === "astray").map(({ direction }) => direction);
    expect(await pings(lab, "host", "198.51.100.2"), "control").toBe(true);
    expect(await isSilent(lab, one.box, "198.51.100.2")).toBe(true);
    expect(await astray()).toEqual(["from-guest"]);
    await lab.must("gw", ["ip", "route", "add", `${one.address}/32`, "via", "198.51.100.1"]);
    expect(await isSilent(lab, "gw", one.address), "into the guest by it").toBe(true);
    expect((await astray()).toSorted()).toEqual(["from-guest", "to-guest"]);
    await lab.must("gw", ["ip", "route", "del", `${one.address}/32`]);
    expect(await pings(lab, "gw", one.address), "control: by the uplink").toBe(true);
    await lab.must("neighbour", ["ip", "route", "add", "198.51.100.0/24", "via", lab.topology.host.address]);
    expect(await isSilent(lab, "neighbour", "198.51.100.2"), "from the LAN").toBe(true);
    // Nobody repairs while it stands still.
    const agent = await agentPid(lab);
    process.kill(agent, "SIGSTOP");
    try {
      const flush = `nft list tables | sed -n 's/table inet //p' | while read t; do nft flush set inet $t opened; done`;
      await onHost("sh", "-c", flush);
      expect(await pings(lab, "neighbour", "198.51.100.2"), "control: it is that set which closes it").toBe(true);
    } finally {
      process.kill(agent, "SIGCONT");
    }
    expect(await eventually(() => isSilent(lab, "neighbour", "198.51.100.2")), "it is put back").toBe(true);
    await onHost("ip", "link", "del", "mgmt0");
  });

  test("of the host itself a guest reaches what the network offers, by the gateway's address on the port, and nothing else", async () => {
    const { lab, client } = routed;
    const addresses = ["169.254.0.1", "fe80::1%eth0", lab.topology.host.address];
    for (const address of addresses) expect(await isSilent(lab, one.box, address), address).toBe(true);
    await applyText({ client }, siteText(lab.topology, { network: ["hostServices: [{ protocol: icmp }]"] }));
    for (const address of addresses) expect(await pings(lab, one.box, address), `${address} offered`).toBe(true);
    await applyText({ client }, siteText(lab.topology));
  });

  test("no guest fills the host's table of neighbours by asking for who is not there", async () => {
    const { lab, client } = routed;
    const { neighbour, gateway, host, prefix4 } = lab.topology;
    const context = { self: one, gateway, neighbour, victim: two, host, prefix4, via: HOST_PORT_MAC };
    const nobody = Array.from({ length: 180 }, (_, n) => {
      const to = parseIpv4(`203.0.113.${60 + n}`);
      if (to === undefined) throw new TypeError("address");
      return udpTo({ ...context, serial: n }, { to });
    });
    expect(await pings(lab, one.box, neighbour.address), "heard before").toBe(true);
    await sendFrames(lab, one.box, nobody);
    const truth = udpTo({ ...context, serial: 9999 });
    const listener = await sniff(lab, "neighbour");
    await sendFrames(lab, one.box, [truth]);
    expect(await eventually(async () => listener.frames().some((frame) => isRoutedCopy(truth, frame))), "control").toBe(
      true,
    );
    await listener.stop();
    const asked = (await onHost("ip", "neigh", "show", "dev", "eth0"))
      .split("\n")
      .filter((line) => !line.includes("lladdr"));
    expect(asked.length, "asked for").toBeLessThan(100);
    expect(asked.length, "control: it was asked").toBeGreaterThan(20);
    const drops = await client.drops({ port: one.port });
    expect(drops.find(({ reason }) => reason === "rate-arp")?.packets).toBeGreaterThan(80);
  });

  test("what somebody takes away comes back; a route that is not ours is not touched", async () => {
    const { lab } = routed;
    expect(await traces()).toBe(before);
    await onHost("ip", "route", "add", "192.0.2.9/32", "dev", "eth0", "proto", "static");
    const thefts: readonly (readonly string[])[] = [
      ["ip", "route", "del", `${one.address}/32`, "dev", one.port],
      ["ip", "-6", "route", "del", globalOf(one), "dev", one.port],
      ["ip", "neigh", "del", one.address, "dev", one.port],
      ["ip", "address", "del", "169.254.0.1/32", "dev", one.port],
      ["ip", "neigh", "del", "proxy", one.address, "dev", "eth0"],
      ["ip", "-6", "neigh", "del", "proxy", globalOf(one), "dev", "eth0"],
    ];
    const pid = await agentPid(lab);
    for (const argv of thefts) {
      // Held, or it has put it back before anybody looks.
      process.kill(pid, "SIGSTOP");
      await onHost(...argv);
      expect(await traces(), argv.join(" ")).not.toBe(before);
      process.kill(pid, "SIGCONT");
      expect(await eventually(async () => (await traces()) === before), argv.join(" ")).toBe(true);
    }
    await onHost("sh", "-c", "echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding");
    expect(await eventually(async () => settings("eth0")["forwarding4"] === 1), "forwarding").toBe(true);
    expect(await onHost("ip", "route", "show", "192.0.2.9")).toContain("proto static");
    await onHost("ip", "route", "del", "192.0.2.9/32");
    expect(await pings(lab, "neighbour", one.address)).toBe(true);
  });

  test("guests go on talking when the agent is killed, to those they never spoke to before, too; the next agent takes over", async () => {
    const { lab } = routed;
    await killAgent(lab);
    for (const box of ["neighbour", one.box, two.box]) await lab.must(box, ["ip", "neigh", "flush", "all"]);
    expect(await pings(lab, one.box, lab.topology.neighbour.address)).toBe(true);
    expect(await pings(lab, "neighbour", two.address)).toBe(true);
    expect(await pings(lab, one.box, globalOf(two))).toBe(true);
    await startAgent(lab);
    expect(await traces()).toBe(before);
    expect(await pings(lab, one.box, two.address)).toBe(true);
  });

  test("security groups judge what is routed: an allowed service is reached, another is not, and a rule that goes cuts", async () => {
    const { lab, client } = routed;
    const group = (ports: string): string =>
      `kind: group\nname: web\nspec: { ingress: [{ protocol: tcp, ports: [${ports}], from: any }] }`;
    const apply = (ports: string): Promise<void> =>
      applyText({ client }, siteText(lab.topology, { groups: [group(ports)], nics: { guest2: "groups: [web]" } }));
    await apply("8080");
    for (const port of [8080, 5432])
      await lab.start(
        two.box,
        ["socat", `TCP6-LISTEN:${port},fork,reuseaddr,ipv6only=0`, "EXEC:cat"],
        `echo-${port}.log`,
      );
    const reaches = async (box: string, address: string, port: number): Promise<boolean> => {
      const target = address.includes(":") ? `TCP6:[${address}]:${port}` : `TCP4:${address}:${port}`;
      const script = 'echo hello | timeout 2 socat -t 1 - "$1,connect-timeout=1"';
      return (await lab.exec(box, ["sh", "-c", script, "sh", target])).stdout.includes("hello");
    };
    for (const box of [one.box, "neighbour"])
      for (const address of [two.address, globalOf(two)]) {
        expect(await eventually(() => reaches(box, address, 8080)), `${box} to ${address}`).toBe(true);
        expect(await reaches(box, address, 5432), `${box} to ${address}: not allowed`).toBe(false);
      }
    const counted = await client.drops({ port: two.port });
    expect(counted.map(({ reason }) => reason)).toContain("policy-ingress");
    await apply("5432");
    expect(await reaches("neighbour", two.address, 8080), "revoked").toBe(false);
    expect(await reaches("neighbour", two.address, 5432), "control").toBe(true);
    await applyText({ client }, siteText(lab.topology));
  });

  test("a port opens with an announcement on the LAN; detached it leaves nothing, and settings are as they were", async () => {
    const { lab, agent } = routed;
    const listener = await sniff(lab, "neighbour");
    await ask(agent, ["detach", two.port]);
    expect(await isSilent(lab, "neighbour", two.address)).toBe(true);
    expect(await traces()).not.toContain(two.address);
    expect(await onHost("ip", "neigh", "show", "proxy")).toContain(one.address);
    await attachGuest(lab, agent, two);
    await addressRouted(lab, two, "address");
    expect(await eventually(() => pings(lab, "neighbour", two.address))).toBe(true);
    const hex = (): readonly string[] => listener.frames().map(toHex);
    const [mac, address] = [
      lab.topology.host.mac.replaceAll(":", ""),
      two.address
        .split(".")
        .map((n) => Number(n).toString(16).padStart(2, "0"))
        .join(""),
    ];
    const arp = `ffffffffffff${mac}08060001080006040001${mac}${address}000000000000${address}`;
    expect(await eventually(async () => hex().some((frame) => frame.startsWith(arp))), "gratuitous ARP").toBe(true);
    const isAdvertised = (frame: string): boolean =>
      frame.startsWith(`333300000001${mac}86dd`) && frame.slice(108, 112) === "8800";
    expect(await eventually(async () => hex().some(isAdvertised)), "unsolicited advertisement").toBe(true);
    await listener.stop();
    expect(settings("eth0")).toMatchObject({ forwarding4: 1 });
    await ask(agent, ["detach", one.port]);
    await ask(agent, ["detach", two.port]);
    expect(await eventually(async () => settings("eth0")["forwarding4"] === 0)).toBe(true);
    expect(settings("eth0")).toMatchObject({
      proxyDelay4: 80,
      proxyDelay6: 80,
      proxy6: 0,
      router6: 0,
      forwarding6: 0,
    });
    await onHost("ip", "link", "add", "fresh0", "type", "veth", "peer", "name", "fresh1");
    expect(settings(one.port), "as of a new interface").toEqual(settings("fresh0"));
    await onHost("ip", "link", "del", "fresh0");
    expect(await traces()).toBe("");
    expect(await isSilent(lab, one.box, "169.254.0.1"), "shut").toBe(true);
    for (const guest of [one, two]) {
      await attachGuest(lab, agent, guest);
      await addressRouted(lab, guest, "address");
    }
    expect(await eventually(() => pings(lab, one.box, two.address)), "control").toBe(true);
    expect(await traces()).toBe(before);
    expect(readFileSync(agent.log, "utf8")).not.toMatch(/"level":50/);
  });
});
