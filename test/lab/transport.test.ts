/** Ports that are a subnet of their own, on the real kernel (contract sections 2, 3, 5): who reaches whom on one host and on two, what clients make of a /31 and a /30, and what is put back. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { arpRequest, udpTo } from "../../src/lab/attack.ts";
import { solicit } from "../../src/lab/attack6.ts";
import { type DhcpClient, getLease } from "../../src/lab/dhcp-client.ts";
import { getLease6 } from "../../src/lab/dhcp6-client.ts";
import { ask, attachGuest, startAgent } from "../../src/lab/guarded.ts";
import { type GuestBox, globalOf } from "../../src/lab/topology.ts";
import { sendFrames } from "../../src/lab/trial.ts";
import { parseIpv4 } from "../../src/model/ipv4.ts";
import { parseIpv6 } from "../../src/model/ipv6.ts";
import { link4At, link6At } from "../../src/model/transport.ts";
import { HOST_PORT_MAC, PORT_GATEWAY6 } from "../../src/model/wiring.ts";
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
  addressGuest,
  type RoutedLab,
  raiseRoutedLab,
  routingOn,
  settingsOf,
} from "../support/routed-lab.ts";

const own = process.pid.toString(36);
const leftOf = (guest: GuestBox): string => link4At(guest.address, 31).left;

describe("guests on links of their own, on two hosts", () => {
  let routed: RoutedLab;
  let before: string;
  /** On the first host; the one between them is on the second. */
  let one: GuestBox;
  let two: GuestBox;
  beforeAll(async () => {
    routed = await raiseRoutedLab({ name: `tp${own}`, guests: 3, hosts: 2, wiring: "transport" });
    [one, two] = [guestAt(routed.guests, 0), guestAt(routed.guests, 2)];
    before = await traces();
  });
  afterAll(async () => {
    await routed?.lab.down();
  });

  const onHost = (...argv: string[]): Promise<string> => routed.lab.must("host", argv);

  const settings = (device: string): Record<string, number | undefined> => settingsOf(routed.lab, device);

  /** All that bears our number, and whatever else is on the ports but what the kernel learns and forgets by itself. */
  const traces = (): Promise<string> =>
    routingOn(
      routed.lab,
      (line) => /proto 118|proxy|vif/.test(line) && !/ (?:STALE|REACHABLE|DELAY|PROBE|FAILED|INCOMPLETE)/.test(line),
    );

  test("reach each other, the gateway and the neighbour, and are reached, in both families", async () => {
    const { lab, guests } = routed;
    const { gateway, neighbour } = lab.topology;
    const far = guestAt(guests, 1);
    expect([one.on, far.on, two.on]).toEqual(["host", "host2", "host"]);
    const pairs: readonly (readonly [string, string])[] = [
      [one.box, two.address],
      [one.box, far.address],
      [far.box, two.address],
      [one.box, gateway.address],
      [one.box, neighbour.address],
      ["neighbour", one.address],
      ["neighbour", far.address],
      [one.box, globalOf(two)],
      [one.box, globalOf(far)],
      [one.box, globalOf(neighbour)],
      ["neighbour", globalOf(one)],
      ["neighbour", globalOf(far)],
    ];
    const failed: string[] = [];
    for (const [box, address] of pairs) if (!(await pings(lab, box, address))) failed.push(`${box} to ${address}`);
    expect(failed).toEqual([]);
  });

  /** What a real client makes of the link, on a guest that starts without an address. */
  async function leased(client: DhcpClient, guest: GuestBox): Promise<void> {
    const { lab } = routed;
    await lab.must(guest.box, ["ip", "-4", "address", "flush", "dev", "eth0"]);
    expect(await getLease(lab, guest.box, client), client).toBe(guest.address);
    const shown = await lab.must(guest.box, ["ip", "-4", "-o", "address", "show", "dev", "eth0"]);
    expect(shown, client).toContain(`${guest.address}/31`);
    const way = await lab.must(guest.box, ["ip", "-4", "route", "show", "default"]);
    expect(way, client).toContain(`via ${leftOf(guest)} `);
    expect(await pings(lab, guest.box, lab.topology.neighbour.address), client).toBe(true);
  }

  async function leased6(guest: GuestBox): Promise<void> {
    const { lab } = routed;
    expect(await getLease6(lab, guest.box, "dhclient")).toEqual({ address: globalOf(guest), gateway: "fe80::1" });
    const { prefix, left } = link6At(globalOf(guest));
    const isOnLink = async (): Promise<boolean> =>
      (await lab.must(guest.box, ["ip", "-6", "route", "show"])).includes(`${prefix} dev eth0`);
    expect(await eventually(isOnLink)).toBe(true);
    expect(await pings(lab, guest.box, globalOf(lab.topology.neighbour))).toBe(true);
    await lab.exec(guest.box, ["ping", "-n", "-c", "1", "-w", "1", left]);
    const known = await lab.must(guest.box, ["ip", "-6", "neigh", "show", left]);
    expect(known, "the host's end is there, and answers no ping").toContain(HOST_PORT_MAC);
  }

  // Side by side: one of them takes seven seconds, because it looks first whether anybody has the address (RFC 5227).
  test("real clients get their end of a /31 and the way out by the other end; of IPv6 the router by advertisement, and the link as its prefix", async () => {
    const { lab, guests } = routed;
    const far = guestAt(guests, 1);
    const second = async (): Promise<void> => {
      await leased("udhcpc", far);
      await leased6(far);
    };
    await Promise.all([leased("dhcpcd", one), second(), leased("dhclient", two)]);
    for (const guest of guests) {
      await lab.must(guest.box, ["ip", "-4", "address", "flush", "dev", "eth0"]);
      await addressGuest(lab, guest);
    }
  });

  test.each(["udhcpc", "dhclient"] as const)("%s gets its end of a /30", async (client) => {
    const { lab, agent, client: api } = routed;
    const guest = two;
    const wide = `kind: network
name: wide
spec: { prefix4: 198.18.7.0/24, wiring: { kind: transport, uplink: eth0, link4: 30 }, addressing: { kind: managed, macScheme: ip }, groups: [open] }
---
kind: guest
name: visitor
spec: { nics: [{ network: wide, address4: 198.18.7.6 }] }
`;
    await applyText({ client: api }, wide);
    await ask(agent, ["detach", guest.port]);
    await ask(agent, ["attach", guest.port, "--guest", "visitor"]);
    await lab.must(guest.box, ["ip", "address", "flush", "dev", "eth0"]);
    await lab.must(guest.box, ["ip", "link", "set", "eth0", "address", "fe:00:c6:12:07:06"]);
    await lab.must("neighbour", ["ip", "route", "replace", "198.18.7.6", "via", lab.topology.host.address]);
    expect(await getLease(lab, guest.box, client)).toBe("198.18.7.6");
    const shown = await lab.must(guest.box, ["ip", "-4", "-o", "address", "show", "dev", "eth0"]);
    expect(shown).toContain("198.18.7.6/30");
    expect(await lab.must(guest.box, ["ip", "-4", "route", "show", "default"])).toContain("via 198.18.7.5 ");
    expect(await pings(lab, guest.box, lab.topology.neighbour.address)).toBe(true);
    expect(await pings(lab, "neighbour", "198.18.7.6")).toBe(true);
    await ask(agent, ["detach", guest.port]);
    await lab.must(guest.box, ["ip", "address", "flush", "dev", "eth0"]);
    await attachGuest(lab, agent, guest);
    await addressGuest(lab, guest);
    expect(await traces()).toBe(before);
  });

  test("has the left-hand addresses on its ports, routes to the right-hand ones, and answers for none of them on the LAN", async () => {
    const { lab } = routed;
    const routes = await onHost("sh", "-c", "ip route show proto 118; ip -6 route show proto 118");
    for (const guest of [one, two]) {
      expect(before).toContain(`inet ${leftOf(guest)}/31`);
      expect(before).toContain(`inet6 ${link6At(globalOf(guest)).left}/127`);
      for (const address of [guest.address, globalOf(guest)]) expect(routes).toContain(`${address} dev ${guest.port} `);
    }
    expect(await onHost("ip", "neigh", "show", "proxy")).toBe("");
    expect(settings("eth0")).toMatchObject({ proxy4: 0, proxy6: 0, router6: 0, forwarding4: 1, forwarding6: 1 });
    expect(await pings(lab, "neighbour", one.address), "by its route").toBe(true);
    await lab.must("neighbour", ["ip", "route", "replace", `${one.address}/32`, "dev", "eth0"]);
    await lab.must("neighbour", ["ip", "neigh", "flush", "all"]);
    expect(await isSilent(lab, "neighbour", one.address), "by asking who has it").toBe(true);
    await lab.must("neighbour", ["ip", "route", "replace", `${one.address}/32`, "via", lab.topology.host.address]);
    expect(await pings(lab, "neighbour", one.address)).toBe(true);
  });

  test("prefixes and addresses behind a guest are reached by its end of the link, are its to speak as, and go again", async () => {
    const { lab, client } = routed;
    const { neighbour, host } = lab.topology;
    const more = "addresses: [198.51.100.64/28, 198.51.100.200, '2001:db8:77::/64', '2001:db8:78::1']";
    await applyText({ client }, siteText(lab.topology, { nics: { [one.box]: more } }));
    const behind = ["198.51.100.65", "198.51.100.200", "2001:db8:77::1", "2001:db8:78::1"];
    for (const address of behind) {
      await lab.must(one.box, ["ip", "address", "add", address, "dev", "lo"]);
      const via = address.includes(":") ? host.address6 : host.address;
      await lab.must("neighbour", ["ip", "route", "add", address, "via", via]);
    }
    expect(await onHost("ip", "route", "show", "198.51.100.64/28")).toContain(`via ${one.address} dev ${one.port}`);
    expect(await onHost("ip", "-6", "route", "show", "2001:db8:77::/64")).toContain(`via ${globalOf(one)}`);
    const speaks = async (address: string): Promise<boolean> => {
      const to = address.includes(":") ? globalOf(neighbour) : neighbour.address;
      return !(await isSilent(lab, one.box, to, "-I", address));
    };
    const all = (what: (address: string) => Promise<boolean>): Promise<readonly boolean[]> =>
      Promise.all(behind.map(what));
    expect(await all((address) => pings(lab, "neighbour", address)), "reached").toEqual(behind.map(() => true));
    expect(await all(speaks), "spoken as").toEqual(behind.map(() => true));
    await applyText({ client }, siteText(lab.topology));
    expect(await eventually(async () => (await traces()) === before)).toBe(true);
    expect(await all(speaks), "spoken as no more").toEqual(behind.map(() => false));
    for (const address of behind) {
      await lab.must(one.box, ["ip", "address", "del", address, "dev", "lo"]);
      await lab.must("neighbour", ["ip", "route", "del", address]);
    }
  });

  test("of the host itself a guest reaches what the network offers, by its ends of the links and by its other addresses, and nothing else", async () => {
    const { lab, client } = routed;
    const addresses = [one, two].flatMap((guest) => [leftOf(guest), link6At(globalOf(guest)).left]);
    addresses.push("fe80::1%eth0", lab.topology.host.address);
    const silent = await Promise.all(addresses.map((address) => isSilent(lab, one.box, address)));
    expect(silent, "not offered").toEqual(addresses.map(() => true));
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
    await sendFrames(lab, one.box, nobody);
    const asked = (await onHost("ip", "neigh", "show", "dev", "eth0"))
      .split("\n")
      .filter((line) => !line.includes("lladdr"));
    expect(asked.length, "asked for").toBeLessThan(100);
    expect(asked.length, "control: it was asked").toBeGreaterThan(20);
    const drops = await client.drops({ port: one.port });
    expect(drops.find(({ reason }) => reason === "rate-arp")?.packets).toBeGreaterThan(80);
    expect(await pings(lab, one.box, neighbour.address), "control: heard before").toBe(true);
  });

  test("no guest fills it by asking for the host as everybody behind it, in either family", async () => {
    const { lab, client } = routed;
    const more = "addresses: [198.18.8.0/24, '2001:db8:77::/64']";
    await applyText({ client }, siteText(lab.topology, { nics: { [one.box]: more } }));
    expect(await eventually(async () => (await traces()).includes("198.18.8.0/24"))).toBe(true);
    const { neighbour, gateway, host, prefix4 } = lab.topology;
    const context = { self: one, gateway, neighbour, victim: two, host, prefix4, via: HOST_PORT_MAC };
    const left = link4At(one.address, 31).left;
    const questions = Array.from({ length: 90 }, (_, n): readonly Uint8Array[] => {
      const [four, six] = [parseIpv4(`198.18.8.${n + 1}`), parseIpv6(`2001:db8:77::${n + 1}`)];
      if (four === undefined || six === undefined) throw new TypeError("address");
      const c = { ...context, serial: n };
      return [
        arpRequest(c, { mac: one.mac, address: four }, left),
        solicit(c, PORT_GATEWAY6, { from: six, to: PORT_GATEWAY6 }),
      ];
    });
    await sendFrames(lab, one.box, questions.flat());
    const known = (await onHost("ip", "neigh", "show", "dev", one.port)).split("\n");
    for (const [family, behind] of [
      ["IPv4", known.filter((line) => line.startsWith("198.18.8."))],
      ["IPv6", known.filter((line) => line.startsWith("2001:db8:77:"))],
    ] as const) {
      expect(behind.length, `${family}: remembered`).toBeLessThan(30);
      expect(behind.length, `${family}, control: it was asked`).toBeGreaterThan(5);
    }
    const reasons = (await client.drops({ port: one.port })).map(({ reason }) => reason);
    expect(reasons).toEqual(expect.arrayContaining(["rate-arp", "rate-nd"]));
    await applyText({ client }, siteText(lab.topology));
    expect(await eventually(async () => (await traces()) === before)).toBe(true);
  });

  test("is nobody's router: not from a guest to another network of the host, nor back", async () => {
    const { lab, client } = routed;
    await addForeignNetwork(lab);
    await lab.must("gw", ["ip", "address", "add", "198.51.100.2/24", "dev", "mgmt1"]);
    await lab.must("gw", ["ip", "link", "set", "mgmt1", "up"]);
    await onHost("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/mgmt0/forwarding");
    expect(await pings(lab, "host", "198.51.100.2"), "control").toBe(true);
    expect(await isSilent(lab, one.box, "198.51.100.2")).toBe(true);
    const directions = (await client.drops({})).filter(({ reason }) => reason === "astray");
    expect(directions.map(({ direction }) => direction)).toEqual(["from-guest"]);
    await lab.must("gw", ["ip", "route", "replace", `${one.address}/32`, "via", "198.51.100.1"]);
    expect(await isSilent(lab, "gw", one.address), "into the guest by it").toBe(true);
    await lab.must("gw", ["ip", "route", "replace", `${one.address}/32`, "via", lab.topology.host.address]);
    expect(await pings(lab, "gw", one.address), "control: by the uplink").toBe(true);
    await onHost("ip", "link", "del", "mgmt0");
  });

  test("what somebody takes away comes back", async () => {
    const { lab } = routed;
    expect(await traces()).toBe(before);
    const thefts: readonly (readonly string[])[] = [
      ["ip", "route", "del", `${one.address}/32`, "dev", one.port, "proto", "118"],
      ["ip", "-6", "route", "del", globalOf(one), "dev", one.port],
      ["ip", "neigh", "del", one.address, "dev", one.port],
      ["ip", "address", "del", `${leftOf(one)}/31`, "dev", one.port],
      ["ip", "address", "del", `${link6At(globalOf(one)).left}/127`, "dev", one.port],
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
    expect(await pings(lab, "neighbour", one.address)).toBe(true);
  });

  test("guests go on talking when the agent is killed, and to whom they never spoke to before; the next agent changes nothing", async () => {
    const { lab } = routed;
    await killAgent(lab);
    for (const box of ["neighbour", one.box, two.box]) await lab.must(box, ["ip", "neigh", "flush", "all"]);
    expect(await pings(lab, one.box, lab.topology.neighbour.address)).toBe(true);
    expect(await lab.must(one.box, ["ip", "neigh", "show", leftOf(one)]), "the kernel answers").toContain(
      HOST_PORT_MAC,
    );
    expect(await pings(lab, "neighbour", two.address)).toBe(true);
    expect(await pings(lab, one.box, globalOf(two))).toBe(true);
    await startAgent(lab);
    expect(await traces()).toBe(before);
    expect(await pings(lab, one.box, two.address)).toBe(true);
  });

  test("security groups judge what goes by a link: an allowed service is reached, another is not, and a rule that goes cuts", async () => {
    const { lab, client } = routed;
    const group = (ports: string): string =>
      `kind: group\nname: web\nspec: { ingress: [{ protocol: tcp, ports: [${ports}], from: any }] }`;
    const apply = (ports: string): Promise<void> =>
      applyText({ client }, siteText(lab.topology, { groups: [group(ports)], nics: { [two.box]: "groups: [web]" } }));
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
    for (const [box, address] of [
      [one.box, two.address],
      ["neighbour", globalOf(two)],
    ] as const) {
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

  test("detached it leaves nothing, and settings are as they were", async () => {
    const { lab, agent } = routed;
    for (const guest of [one, two]) await ask(agent, ["detach", guest.port]);
    expect(await eventually(async () => settings("eth0")["forwarding4"] === 0)).toBe(true);
    await onHost("ip", "link", "add", "fresh0", "type", "veth", "peer", "name", "fresh1");
    const untouched = settings("fresh0");
    for (const port of [one.port, two.port]) expect(settings(port), "as of a new interface").toEqual(untouched);
    await onHost("ip", "link", "del", "fresh0");
    expect(settings("eth0")).toMatchObject({ forwarding6: 0, proxyDelay4: 80, proxyDelay6: 80 });
    expect(await traces()).toBe("");
    expect(await isSilent(lab, "neighbour", one.address), "shut").toBe(true);
    for (const guest of [one, two]) {
      await attachGuest(lab, agent, guest);
      await addressGuest(lab, guest);
    }
    expect(await eventually(() => pings(lab, "neighbour", one.address)), "control").toBe(true);
    expect(await traces()).toBe(before);
    expect(readFileSync(agent.log, "utf8")).not.toMatch(/"level":50/);
  });
});
