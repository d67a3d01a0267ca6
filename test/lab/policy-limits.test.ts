/**
 * What groups and shares mean for flows that are not plain (contract sections 3 and 4): shares towards the guest, new flows, connections into it, fragments and
 * large segments, whole prefixes and shared addresses, open and stateful NICs beside one another, and the drop log.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ETHER, PROTOCOL } from "../../src/lab/attack.ts";
import { ethernet, ip4, ip4Of, text, udp } from "../../src/lab/forge.ts";
import { ip6, ip6Of, NEXT, udp6 } from "../../src/lab/forge6.ts";
import { patience } from "../../src/lab/patience.ts";
import { sniff } from "../../src/lab/sniff.ts";
import { type Box, type GuestBox, globalOf, type Party } from "../../src/lab/topology.ts";
import { sendFrames } from "../../src/lab/trial.ts";
import type { DropEvent } from "../../src/model/operations.ts";
import type { Reason } from "../../src/model/reasons.ts";
import { toHex } from "../../src/packet/hex.ts";
import { type Flows, flowsIn } from "../support/flows.ts";
import {
  dropsOf,
  eventually,
  type GuardedLab,
  guestAt,
  moreThan,
  pings,
  raiseGuardedLab,
  type SiteExtras,
} from "../support/guarded-lab.ts";

const own = process.pid.toString(36);
/** Allowed into the first guest, and not. */
const [SHOP, SINK, CLOSED, HOST_SERVICE] = [8080, 9000, 9999, 7777];
const PACKETS = { perSecond: 50, burst: 100 };
const FLOWS = { perSecond: 10, burst: 30 };
const WIDE = "198.51.100.0/28";
const SHARED = "203.0.113.99";

/** guest1 is held by groups and shares, guest2 is open, guest3 has more addresses than one. */
const site: SiteExtras = {
  network: [`hostServices: [{ protocol: tcp, ports: [${HOST_SERVICE}] }, { protocol: icmp }, { protocol: icmpv6 }]`],
  groups: [
    `kind: group\nname: held\nspec: { ingress: [{ protocol: tcp, ports: [${SHOP}], from: any }, { protocol: udp, ports: [${SINK}], from: any }] }`,
    "kind: group\nname: open\nspec: { ingress: [{ protocol: any, from: any }] }",
  ],
  nics: {
    guest1: `groups: [held], connections: 20, rates: { toGuestPackets: { perSecond: 4000, burst: 4000 }, syn: { perSecond: ${FLOWS.perSecond}, burst: ${FLOWS.burst} } }`,
    guest2: `groups: [open], rates: { toGuestPackets: { perSecond: ${PACKETS.perSecond}, burst: ${PACKETS.burst} } }`,
    guest3: `groups: [held], addresses: ["${WIDE}"], allowedPairs: [{ address: ${SHARED} }], rates: { toGuestBytes: { perSecond: 10000, burst: 20000 } }`,
  },
};

let guarded: GuardedLab;
let flows: Flows;
let held: GuestBox;
let open: GuestBox;
let wide: GuestBox;

beforeAll(async () => {
  guarded = await raiseGuardedLab(`pll${own}`, 3, site);
  flows = flowsIn(guarded.lab);
  [held, open, wide] = [guestAt(guarded.guests, 0), guestAt(guarded.guests, 1), guestAt(guarded.guests, 2)];
  const boxes: readonly Box[] = ["guest1", "guest2", "guest3", "neighbour"];
  for (const box of boxes) for (const port of [SHOP, CLOSED]) await flows.serve(box, port);
  await flows.serve("host", HOST_SERVICE);
  // Each has learned the neighbour by both families: frames are sent to it later without asking (dest-mac).
  for (const { box } of guarded.guests)
    for (const address of both(guarded.lab.topology.neighbour))
      expect(await eventually(() => pings(guarded.lab, box, address)), `control: ${box} reaches it`).toBe(true);
});
afterAll(() => guarded?.lab.down());

const both = (party: Party): readonly string[] => [party.address, globalOf(party)];

/** Reasons that were counted more while it ran. */
async function counted(
  port: string,
  direction: "from-guest" | "to-guest",
  run: () => Promise<unknown>,
): Promise<ReadonlyMap<Reason, number>> {
  const before = await dropsOf(guarded, port, direction);
  await run();
  return moreThan(before, await dropsOf(guarded, port, direction));
}

interface Datagram {
  readonly from: Party;
  readonly to: Party;
  readonly family: 4 | 6;
  readonly ports: readonly [number, number];
  readonly octets?: number;
}

function datagram({ from, to, family, ports: [source, port], octets = 20 }: Datagram, n: number): Uint8Array {
  const payload = text(`${n} `.padEnd(octets, "x"));
  if (family === 4) {
    const packet = ip4(
      { from: from.address, to: to.address, protocol: PROTOCOL.udp, id: n },
      udp(source, port, payload),
    );
    return ethernet(to.mac, from.mac, ETHER.ip, packet);
  }
  const ends = { from: ip6Of(globalOf(from)), to: ip6Of(globalOf(to)) };
  return ethernet(to.mac, from.mac, ETHER.ip6, ip6({ ...ends, next: NEXT.udp }, udp6(ends, source, port, payload)));
}

describe.each([4, 6] as const)("shares towards a guest, IPv%s", (family) => {
  const lots = (to: GuestBox, count: number, octets: number): readonly Uint8Array[] =>
    Array.from({ length: count }, (_, n) =>
      datagram({ from: guarded.lab.topology.neighbour, to, family, ports: [5000, SINK], octets }, n),
    );

  /** How many of the frames arrive at the guest, and how many are counted as too many. */
  async function flood(
    to: GuestBox,
    frames: readonly Uint8Array[],
    reason: Reason,
  ): Promise<readonly [number, number]> {
    const at = await sniff(guarded.lab, to.box);
    const texts = frames.map(toHex);
    const arrived = (): number => {
      const seen = new Set(at.frames().map(toHex));
      return texts.filter((hex) => seen.has(hex)).length;
    };
    const drops = await counted(to.port, "to-guest", async () => {
      await sendFrames(guarded.lab, "neighbour", frames);
      await eventually(async () => arrived() >= frames.length, 500);
    });
    await at.stop();
    return [arrived(), drops.get(reason) ?? 0];
  }

  test("packets: what is more is dropped and counted, below passes", async () => {
    await sleep(2500);
    const start = performance.now();
    const [arrived, dropped] = await flood(open, lots(open, 400, 20), "rate-packets");
    const seconds = (performance.now() - start) / 1000;
    expect(arrived + dropped).toBe(400);
    expect(arrived).toBeLessThanOrEqual(PACKETS.burst + PACKETS.perSecond * (seconds + 1));
    expect(arrived).toBeGreaterThanOrEqual(PACKETS.burst * 0.8);
    await sleep(1000);
    expect(await flood(open, lots(open, 20, 20), "rate-packets"), "a normal rate passes").toEqual([20, 0]);
  });

  test("octets", async () => {
    await sleep(2500);
    const [arrived, dropped] = await flood(wide, lots(wide, 100, 1000), "rate-bytes");
    expect(arrived + dropped).toBe(100);
    expect(arrived).toBeGreaterThanOrEqual(12);
    expect(arrived).toBeLessThan(80);
    await sleep(1000);
    expect(await flood(wide, lots(wide, 5, 1000), "rate-bytes"), "a normal rate passes").toEqual([5, 0]);
  });
});

describe.each([4, 6] as const)("new flows of a stateful NIC, IPv%s", (family) => {
  test("what opens more than its share is dropped; a flow that nobody answers is one flow", async () => {
    await sleep(patience(3000));
    const { neighbour } = guarded.lab.topology;
    const frames = (port: (n: number) => number): readonly Uint8Array[] =>
      Array.from({ length: 200 }, (_, n) => datagram({ from: held, to: neighbour, family, ports: [port(n), 9] }, n));
    const one = await counted(held.port, "from-guest", () =>
      sendFrames(
        guarded.lab,
        "guest1",
        frames(() => 40_000),
      ),
    );
    expect(one.get("rate-syn"), "one flow of 200 datagrams").toBeUndefined();
    const many = await counted(held.port, "from-guest", () =>
      sendFrames(
        guarded.lab,
        "guest1",
        frames((n) => 41_000 + n),
      ),
    );
    // Each of the others has either a share or a place among the connections of the NIC.
    expect((many.get("rate-syn") ?? 0) + (many.get("conn-limit") ?? 0), JSON.stringify([...many])).toBeGreaterThan(
      200 - FLOWS.burst * 2,
    );
    await forget(held);
  });
});

/** As after the time that the kernel keeps flows. */
async function forget(guest: GuestBox): Promise<void> {
  for (const [family, address] of [
    ["ipv4", guest.address],
    ["ipv6", globalOf(guest)],
  ] as const)
    for (const end of ["-s", "-d"]) await guarded.lab.exec("host", ["conntrack", "-D", "-f", family, end, address]);
}

test("connections into a guest count for it, and are bounded", { timeout: patience(60_000) }, async () => {
  await forget(held);
  const script = 'for n in $(seq 40); do timeout 4 socat -u "TCP4:$1:$2,connect-timeout=1" - & done; wait';
  const drops = await counted(held.port, "to-guest", () =>
    guarded.lab.exec("neighbour", ["sh", "-c", script, "sh", held.address, String(SHOP)], { timeoutMs: 30_000 }),
  );
  expect(drops.get("conn-limit") ?? 0).toBeGreaterThan(0);
  const lines = await flows.tracked(held.address, "-p", "tcp", "--dport", String(SHOP));
  expect(lines.length, "some were let in").toBeGreaterThan(0);
  expect(lines.length).toBeLessThanOrEqual(20);
  await forget(held);
  expect(await eventually(() => flows.reaches("neighbour", held.address, SHOP)), "control: room again").toBe(true);
});

test("the bound still stands when the NIC had no connection for a while", async () => {
  const bounds = async (): Promise<string> =>
    guarded.lab.must("host", ["sh", "-c", "nft list ruleset | grep -A8 'set connections'"]);
  await forget(held);
  // The kernel looks for elements of no more use every second.
  await sleep(2500);
  expect(await bounds()).toMatch(/ct count over 20\b/);
});

test("drops of groups are told as frames, in both families", async () => {
  const seen: DropEvent[] = [];
  const stop = new AbortController();
  const follow = async (): Promise<void> => {
    for await (const event of guarded.client.followDrops({ port: held.port }, stop.signal)) seen.push(event);
  };
  const following = follow();
  const isTold = (address: string) => async (): Promise<boolean> => {
    await flows.reaches("neighbour", address, CLOSED);
    return seen.some(({ reason, frame }) => reason === "policy-ingress" && frame.includes(address));
  };
  for (const address of both(held)) {
    expect(await eventually(isTold(address)), `${address}: ${seen.map(({ frame }) => frame)}`).toBe(true);
    const told = seen.find(({ frame }) => frame.includes(address));
    expect(told).toMatchObject({ port: held.port, guest: "guest1", direction: "to-guest", observed: false });
    expect(told?.frame).toMatch(
      new RegExp(`${guarded.lab.topology.neighbour.mac} > ${held.mac} .*TCP \\d+ > ${CLOSED} `),
    );
  }
  stop.abort();
  await following;
});

test("a fragmented datagram of an allowed service arrives whole, of another none of it", async () => {
  for (const address of both(held)) {
    const [allowed, other] = [await flows.collect("guest1", SINK), await flows.collect("guest1", CLOSED)];
    const drops = await counted(held.port, "to-guest", async () => {
      await flows.datagram("neighbour", address, CLOSED, 4000);
      const all = async (): Promise<boolean> => {
        if ((await allowed.count()) === 0) await flows.datagram("neighbour", address, SINK, 4000);
        return (await allowed.count()) === 4000;
      };
      expect(await eventually(all), `${address}: ${await allowed.count()}`).toBe(true);
    });
    expect(await other.count(), address).toBe(0);
    expect(drops.get("policy-ingress") ?? 0).toBeGreaterThan(0);
    await allowed.stop();
    await other.stop();
  }
});

test("large segments pass the judge as they are", { timeout: patience(60_000) }, async () => {
  const { lab } = guarded;
  const offload = async (value: "on" | "off"): Promise<void> => {
    const all = ["tx", "rx", "tso", "gso", "gro"].flatMap((feature) => [feature, value]);
    for (const box of ["neighbour", "guest1"]) await lab.must(box, ["ethtool", "-K", "eth0", ...all]);
    for (const port of ["eth0", held.port]) await lab.must("host", ["ethtool", "-K", port, ...all]);
    for (const port of ["neighbour", "host"]) await lab.must("lan", ["ethtool", "-K", port, ...all]);
  };
  await offload("on");
  const OCTETS = 8_000_000;
  for (const address of both(held)) {
    const script = 'head -c "$2" /dev/zero | timeout 20 socat -t 10 - "$1" | wc -c';
    const target = address.includes(":") ? `TCP6:[${address}]:${SHOP}` : `TCP4:${address}:${SHOP}`;
    const argv = ["sh", "-c", script, "sh", target, String(OCTETS)];
    const drops = await counted(held.port, "to-guest", async () => {
      const echoed = await lab.must("neighbour", argv, { timeoutMs: 30_000 });
      expect(Number(echoed.trim()), address).toBe(OCTETS);
    });
    expect([...drops.keys()], address).toEqual([]);
  }
  await offload("off");
});

test("a whole prefix and a shared address are judged like the NIC's own", async () => {
  const { lab } = guarded;
  const addresses = ["198.51.100.5", SHARED];
  for (const address of addresses) await lab.must("guest3", ["ip", "address", "add", `${address}/32`, "dev", "eth0"]);
  await lab.must("neighbour", ["ip", "route", "replace", "198.51.100.0/28", "dev", "eth0"]);
  for (const address of addresses) {
    expect(await eventually(() => flows.reaches("neighbour", address, SHOP)), `${address}: allowed`).toBe(true);
    const drops = await counted(wide.port, "to-guest", async () => {
      expect(await flows.reaches("neighbour", address, CLOSED), address).toBe(false);
    });
    expect(drops.get("policy-ingress") ?? 0, address).toBeGreaterThan(0);
  }
});

describe("an open NIC beside stateful ones", () => {
  test("is not tracked, and flows between both are judged", async () => {
    const { neighbour } = guarded.lab.topology;
    for (const [n, address] of both(open).entries()) {
      expect(await flows.reaches("neighbour", address, CLOSED), `into it: ${address}`).toBe(true);
      expect(await flows.reaches("guest2", both(neighbour)[n] ?? "", SHOP), `out of it: ${address}`).toBe(true);
      expect(await flows.tracked(address)).toEqual([]);
      expect(await flows.tracked(both(neighbour)[n] ?? "", "-s", address)).toEqual([]);
    }
    for (const address of both(held)) {
      expect(await flows.reaches("guest2", address, SHOP), address).toBe(true);
      expect((await flows.tracked(address, "-p", "tcp", "--dport", String(SHOP))).length).toBeGreaterThan(0);
      const drops = await counted(held.port, "to-guest", async () => {
        expect(await flows.reaches("guest2", address, CLOSED), address).toBe(false);
      });
      expect(drops.get("policy-ingress") ?? 0).toBeGreaterThan(0);
    }
    for (const address of both(open)) expect(await flows.reaches("guest1", address, CLOSED), address).toBe(true);
  });

  test("the host knows connections to its own services, of both kinds of NIC", async () => {
    const { lab } = guarded;
    const { host } = lab.topology;
    const rules = `table inet hostfw {
chain input {
type filter hook input priority 10; policy accept;
tcp dport ${HOST_SERVICE} ct state { new, established } accept
tcp dport ${HOST_SERVICE} drop
}
}
`;
    await lab.must("host", ["nft", "-f", "-"], { stdin: rules });
    for (const address of [host.address, host.address6])
      for (const box of ["guest1", "guest2"] as const)
        expect(await eventually(() => flows.reaches(box, address, HOST_SERVICE)), `${box} to ${address}`).toBe(true);
    await lab.must("host", ["nft", "delete", "table", "inet", "hostfw"]);
  });

  test("a bridge with another MAC than it had", async () => {
    const { lab } = guarded;
    const { host } = lab.topology;
    await lab.must("host", ["ip", "link", "set", "br0", "address", "02:76:67:00:00:99"]);
    for (const box of ["guest1", "guest2"] as const) await lab.must(box, ["ip", "neigh", "flush", "dev", "eth0"]);
    for (const box of ["guest1", "guest2"] as const)
      expect(await eventually(() => flows.reaches(box, host.address, HOST_SERVICE)), box).toBe(true);
    const isKnown = async (): Promise<boolean> => {
      await flows.reaches("guest2", host.address, HOST_SERVICE);
      return (await flows.tracked(host.address, "-s", open.address)).length > 0;
    };
    expect(await eventually(isKnown), "tracked by the new MAC").toBe(true);
    expect(await flows.reaches("neighbour", held.address, SHOP)).toBe(true);
    expect(await flows.reaches("neighbour", held.address, CLOSED)).toBe(false);
  });
});

test("bridges that are not vifguard's are tracked as they were", async () => {
  const { lab } = guarded;
  const [one, two] = [ip4Of("192.0.2.1"), ip4Of("192.0.2.2")];
  await lab.must("host", ["ip", "link", "add", "br9", "type", "bridge"]);
  await lab.exec("host", ["ip", "link", "set", "br9", "type", "bridge", "nf_call_iptables", "1"]);
  await lab.must("host", ["ip", "link", "set", "br9", "up"]);
  for (const [box, address] of [
    ["gw", one],
    ["lan", two],
  ] as const) {
    await lab.must("host", [
      "ip",
      "link",
      "add",
      `x${box}`,
      "type",
      "veth",
      "peer",
      "name",
      "x0",
      "netns",
      lab.netns(box),
    ]);
    await lab.must("host", ["ip", "link", "set", `x${box}`, "master", "br9", "up"]);
    await lab.must(box, ["ip", "address", "add", `${address}/24`, "dev", "x0"]);
    await lab.must(box, ["ip", "link", "set", "x0", "up"]);
  }
  expect(await pings(lab, "gw", two)).toBe(true);
  expect((await flows.tracked(two, "-s", one)).length).toBeGreaterThan(0);
});
