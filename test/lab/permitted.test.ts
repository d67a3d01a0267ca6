/**
 * What an operator gives a NIC, and nothing beside it (contract sections 2 and 3): several addresses and prefixes of both families, from the first to the last
 * address of each; the roles router and dhcp-server; the groups of the network. The second guest has none of it.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AttackContext, arpRequest, udpTo } from "../../src/lab/attack.ts";
import { advertise, udp6To } from "../../src/lab/attack6.ts";
import { attackNamed } from "../../src/lab/attacks.ts";
import { ip4Of, macOf } from "../../src/lab/forge.ts";
import { ip6Of } from "../../src/lab/forge6.ts";
import { patience } from "../../src/lab/patience.ts";
import { type Sniffer, sniff } from "../../src/lab/sniff.ts";
import { type Box, globalOf } from "../../src/lab/topology.ts";
import { type Bench, openBench, sendFrames } from "../../src/lab/trial.ts";
import type { Direction, Reason } from "../../src/model/reasons.ts";
import {
  dropsOf,
  eventually,
  type GuardedLab,
  guestAt,
  moreThan,
  pings,
  raiseGuardedLab,
} from "../support/guarded-lab.ts";

const given = [
  "203.0.113.70",
  "203.0.113.80/30",
  "198.51.100.16/28",
  "2001:db8:66::70",
  "2001:db8:77::/64",
  "2001:db8:78:1::/120",
];
const own4 = ["203.0.113.70", "203.0.113.80", "203.0.113.83", "198.51.100.16", "198.51.100.31"].map(ip4Of);
const beside4 = ["203.0.113.69", "203.0.113.79", "203.0.113.84", "198.51.100.15", "198.51.100.32"].map(ip4Of);
const own6 = [
  "2001:db8:66::70",
  "2001:db8:77::",
  "2001:db8:77:0:ffff:ffff:ffff:ffff",
  "2001:db8:78:1::",
  "2001:db8:78:1::ff",
].map(ip6Of);
const beside6 = [
  "2001:db8:66::71",
  "2001:db8:76:ffff:ffff:ffff:ffff:ffff",
  "2001:db8:77:1::",
  "2001:db8:78:1::100",
].map(ip6Of);
/** A virtual router: its addresses may be used with its MAC, and with no other (RFC 5798 section 7.3). */
const virtual = {
  mac: macOf("00:00:5e:00:01:c8"),
  address: ip4Of("203.0.113.200"),
  address6: ip6Of("2001:db8:66::200"),
};
const pairs = [virtual.address, virtual.address6].map((address) => `{ address: "${address}", mac: "${virtual.mac}" }`);
const onLink = (address: string): boolean => address.startsWith("203.0.113.");

let guarded: GuardedLab;
beforeAll(async () => {
  guarded = await raiseGuardedLab(`per${process.pid.toString(36)}`, 2, {
    network: ["multicast: [224.0.0.251, 'ff02::fb']"],
    nics: {
      guest1: `addresses: [${given.map((text) => `"${text}"`).join(", ")}], allowedPairs: [${pairs.join(", ")}], roles: [router, dhcp-server]`,
    },
  });
  const { neighbour, gateway } = guarded.lab.topology;
  for (const { box } of guarded.guests)
    for (const address of [neighbour.address, globalOf(neighbour), gateway.address])
      expect(await eventually(() => pings(guarded.lab, box, address)), `control: ${box} reaches ${address}`).toBe(true);
});
afterAll(() => guarded?.lab.down());

let serial = 1;
function contextOf(number: number): AttackContext {
  serial += 1;
  return {
    ...guarded.lab.topology,
    self: guestAt(guarded.guests, number),
    victim: guestAt(guarded.guests, 1 - number),
    serial,
  };
}

interface Case {
  readonly from: Box;
  readonly at: Box;
  readonly direction: Direction;
  readonly reason: Reason;
  readonly lies: readonly Uint8Array[];
  readonly truths: readonly Uint8Array[];
}

/** The truths are sent last: when they have arrived, so have the lies before them, or not at all. */
async function judge({ from, at, direction, reason, lies, truths }: Case): Promise<void> {
  const { port } = guestAt(guarded.guests, 0);
  const sniffer: Sniffer = await sniff(guarded.lab, at);
  try {
    const before = await dropsOf(guarded, port, direction);
    await sendFrames(guarded.lab, from, [...lies, ...truths]);
    const isThere = (): number => truths.filter((frame) => sniffer.has(frame)).length;
    expect(await eventually(async () => isThere() === truths.length), `${isThere()} of ${truths.length}`).toBe(true);
    expect(lies.filter((frame) => sniffer.has(frame))).toEqual([]);
    const counted = moreThan(before, await dropsOf(guarded, port, direction));
    expect(counted.get(reason) ?? 0, JSON.stringify([...counted])).toBeGreaterThanOrEqual(lies.length);
  } finally {
    await sniffer.stop();
  }
}

describe("several addresses and prefixes of both families", () => {
  const out = { from: "guest1", at: "neighbour", direction: "from-guest" } as const;

  test("IPv4 is sent from each of them, and from none beside", async () => {
    const say = (address: (typeof own4)[number]): Uint8Array => udpTo(contextOf(0), { address });
    await judge({ ...out, reason: "ip4-source", lies: beside4.map(say), truths: own4.map(say) });
  });

  test("IPv6 is sent from each of them, and from none beside", async () => {
    const say = (from: (typeof own6)[number]): Uint8Array => udp6To(contextOf(0), { from });
    await judge({ ...out, reason: "ip6-source", lies: beside6.map(say), truths: own6.map(say) });
  });

  test("ARP announces each that is on the link, and none beside", async () => {
    const say = (address: (typeof own4)[number]): Uint8Array => {
      const context = contextOf(0);
      return arpRequest(context, { mac: context.self.mac, address }, address);
    };
    const [lies, truths] = [beside4, own4].map((list) => list.filter(onLink).map(say));
    await judge({ ...out, reason: "arp-sender", lies: lies ?? [], truths: truths ?? [] });
  });

  test("neighbour discovery announces each of them, and none beside", async () => {
    const say = (address: (typeof own6)[number]): Uint8Array => advertise(contextOf(0), address, { to: "everybody" });
    await judge({ ...out, reason: "nd", lies: beside6.map(say), truths: own6.map(say) });
  });

  test("what is for one of them arrives, and nothing for one beside", async () => {
    const { neighbour } = guarded.lab.topology;
    const fromLan = (): AttackContext => ({ ...contextOf(0), self: neighbour, neighbour: guestAt(guarded.guests, 0) });
    const say4 = (to: (typeof own4)[number]): Uint8Array => udpTo(fromLan(), { to });
    const say6 = (to: (typeof own6)[number]): Uint8Array => udp6To(fromLan(), { to });
    await judge({
      from: "neighbour",
      at: "guest1",
      direction: "to-guest",
      reason: "not-for-guest",
      lies: [...beside4.map(say4), ...beside6.map(say6)],
      truths: [...own4.map(say4), ...own6.map(say6)],
    });
  });
});

describe("a pair of address and MAC", () => {
  const out = { from: "guest1", at: "neighbour", direction: "from-guest" } as const;
  const asVirtual = (): AttackContext => {
    const context = contextOf(0);
    return { ...context, self: { ...context.self, ...virtual } };
  };

  test("both families are sent from it, and from no MAC or address beside", async () => {
    const beside = {
      mac: macOf("00:00:5e:00:01:c9"),
      address: ip4Of("203.0.113.201"),
      address6: ip6Of("2001:db8:66::201"),
    };
    const truths = [udpTo(asVirtual()), udp6To(asVirtual(), { from: virtual.address6 })];
    await judge({ ...out, reason: "mac-source", lies: [udpTo(asVirtual(), { mac: beside.mac })], truths });
    const [beside4, beside6] = [
      udpTo(asVirtual(), { address: beside.address }),
      udp6To(asVirtual(), { from: beside.address6 }),
    ];
    const again = [udpTo(asVirtual()), udp6To(asVirtual(), { from: virtual.address6 })];
    await judge({ ...out, reason: "ip4-source", lies: [beside4], truths: again.slice(0, 1) });
    await judge({ ...out, reason: "ip6-source", lies: [beside6], truths: again.slice(1) });
  });

  test("ARP announces the address at that MAC, and neither at another", async () => {
    const { self } = contextOf(0);
    const lies = [
      arpRequest(contextOf(0), { mac: self.mac, address: virtual.address }, virtual.address),
      arpRequest(asVirtual(), { mac: virtual.mac, address: self.address }, self.address),
    ];
    const truths = [arpRequest(asVirtual(), virtual, virtual.address), arpRequest(contextOf(0), self, self.address)];
    await judge({ ...out, reason: "arp-sender", lies, truths });
  });

  test("what is for the pair arrives, and nothing for an address beside it", async () => {
    const { neighbour } = guarded.lab.topology;
    const guest = guestAt(guarded.guests, 0);
    const fromLan = (): AttackContext => ({ ...contextOf(0), self: neighbour, neighbour: guest });
    const truths = [
      udpTo(fromLan(), { to: virtual.address, toMac: virtual.mac }),
      udp6To(fromLan(), { to: virtual.address6, toMac: virtual.mac }),
    ];
    const lies = [udpTo(fromLan(), { to: ip4Of("203.0.113.201"), toMac: virtual.mac })];
    await judge({ from: "neighbour", at: "guest1", direction: "to-guest", reason: "not-for-guest", lies, truths });
  });
});

describe("roles and groups", () => {
  const benches: Bench[] = [];
  beforeAll(async () => {
    for (const number of [0, 1]) {
      const self = guestAt(guarded.guests, number);
      const parties = { self, victim: guestAt(guarded.guests, 1 - number) };
      benches.push(
        await openBench(guarded.lab, { from: self.box, parties, counts: () => dropsOf(guarded, self.port) }),
      );
    }
  });
  afterAll(async () => {
    for (const bench of benches) await bench.close();
  });

  /** Boxes of the LAN that saw it, and what it was counted under. */
  async function tell(
    guest: 0 | 1,
    lie: string,
  ): Promise<{ readonly seen: boolean; readonly reasons: readonly Reason[] }> {
    const { arrivedAt, counted } = (await benches[guest]?.try(attackNamed(lie))) ?? {
      arrivedAt: [],
      counted: new Map(),
    };
    return { seen: arrivedAt.some((box) => box !== "host"), reasons: [...counted.keys()] };
  }

  test.each([
    ["rogue-router", "ra"],
    ["rogue-router-unicast", "ra"],
    ["redirect6", "ra"],
    ["rogue-dhcp-port", "dhcp-server"],
    ["rogue-dhcp6-server", "dhcp-server"],
    ["rogue-dhcp6-port", "dhcp-server"],
  ] as const)("%s is the role's business, and nobody else's", { timeout: patience(60_000) }, async (lie, reason) => {
    expect((await tell(0, lie)).seen, "with the role").toBe(true);
    expect(await tell(1, lie), "without it").toEqual({ seen: false, reasons: [reason] });
  });

  test("a router's advertisement from behind a router is nobody's, whatever the role", async () => {
    expect(await tell(0, "rogue-router-hop-limit")).toEqual({ seen: false, reasons: ["ra"] });
  });

  test.each(["mdns", "igmp-router-alert", "mdns6", "mld-report"])(
    "%s is of a group that the network allows",
    async (frame) => {
      expect(await tell(1, frame)).toEqual({ seen: true, reasons: [] });
    },
  );

  test.each(["igmp-query", "mld-query", "vrrp", "site-multicast", "ping-all-nodes"])("%s is not", async (frame) => {
    expect(await tell(1, frame)).toEqual({ seen: false, reasons: ["multicast"] });
  });
});
