/** What the agent relies on in connection tracking: the memory double and the kernel give the same answers. */
import { afterAll, describe, expect, test } from "vitest";
import type { Conntrack, Flow } from "../../src/kernel/conntrack.ts";
import { memoryConntrack } from "../../src/kernel/conntrack-memory.ts";
import { openConntrack } from "../../src/kernel/conntrack-netlink.ts";
import { openFrames } from "../../src/kernel/frames-netlink.ts";
import { openLinks } from "../../src/kernel/links-netlink.ts";
import { checksum, ethernet, ip4, ip4Of, join, macOf, patched, u16, udp } from "../../src/lab/forge.ts";
import { ICMP6, icmp6, ip6, ip6Of, udp6 } from "../../src/lab/forge6.ts";
import { isIpv6 } from "../../src/model/ip-block.ts";
import type { MacAddress } from "../../src/model/mac.ts";
import { command, ipBatch, ownNamespace } from "../support/namespace.ts";

ownNamespace("ct");

type Tuple = Omit<Flow, "id">;
const UDP = 17;
const ICMP = 1;
const ICMPV6 = 58;
/** No transport that the kernel knows the ports of. */
const OSPF = 89;
const ECHO = 8;

/** Guest 2 of the zone to the host's address in it. */
const ends4 = (zone: number) => ({ zone, from: ip4Of(`10.${zone}.0.2`), to: ip4Of(`10.${zone}.0.1`) }) as const;
const ends6 = (zone: number) => ({ zone, from: ip6Of(`fd00:${zone}::2`), to: ip6Of(`fd00:${zone}::1`) }) as const;
const opened = (zone: number, fromPort: number): Tuple => ({ ...ends4(zone), protocol: UDP, fromPort, toPort: 53 });
const opened6 = (zone: number, fromPort: number): Tuple => ({ ...ends6(zone), protocol: UDP, fromPort, toPort: 53 });

/** What opens the flow on the wire. */
function packetOf({ protocol, from, to, fromPort, toPort }: Tuple): {
  readonly type: number;
  readonly bytes: Uint8Array;
} {
  if (isIpv6(from) && isIpv6(to)) {
    const echo = join([toPort >> 8, toPort & 255, 0, 0], u16(fromPort), u16(1));
    const payload =
      protocol === ICMPV6 ? icmp6({ from, to }, echo) : udp6({ from, to }, fromPort, toPort, Uint8Array.of(1));
    return { type: 0x86dd, bytes: ip6({ from, to, next: protocol }, payload) };
  }
  if (isIpv6(from) || isIpv6(to)) throw new TypeError("two families");
  const echo = join([toPort >> 8, toPort & 255, 0, 0], u16(fromPort), u16(1));
  const payload =
    protocol === ICMP
      ? patched(echo, 2, u16(checksum(echo)))
      : protocol === UDP
        ? udp(fromPort, toPort, Uint8Array.of(1))
        : new Uint8Array(20);
  return { type: 0x0800, bytes: ip4({ from, to, protocol, id: 1 }, payload) };
}

const frameOf = (host: MacAddress, tuple: Tuple): Uint8Array => {
  const { type, bytes } = packetOf(tuple);
  return ethernet(host, macOf("02:00:00:00:00:02"), type, bytes);
};

interface World {
  readonly conntrack: Conntrack;
  /** A guest opens a flow to the host. */
  track(tuple: Tuple): Promise<void>;
}

function memoryWorld(): World {
  const conntrack = memoryConntrack();
  return { conntrack, track: async (tuple) => conntrack.track(tuple) };
}

// Guests' frames come in by `host`; the zone goes by the address. Nobody answers them, so that a flow is one packet.
ipBatch([
  "link add host type veth peer name guests",
  ...[7, 8].flatMap((zone) => [
    `address add 10.${zone}.0.1/24 dev host`,
    `address add fd00:${zone}::1/64 dev host nodad`,
  ]),
  "link set host up",
  "link set guests up",
]);
command(
  "nft",
  `table inet zones {
	chain raw {
		type filter hook prerouting priority -300;
		ip saddr 10.7.0.0/24 ct zone set 7
		ip saddr 10.8.0.0/24 ct zone set 8
		ip6 saddr fd00:7::/64 ct zone set 7
		ip6 saddr fd00:8::/64 ct zone set 8
	}
	chain silence {
		type filter hook output priority -300;
		drop
	}
}`,
);
const links = openLinks();
const frames = openFrames();
const find = (name: string) => links.list().find((link) => link.name === name);
afterAll(() => {
  frames.close();
  links.close();
});

function kernelWorld(): World {
  const conntrack = openConntrack();
  for (const zone of [7, 8]) for (const flow of conntrack.flows(zone)) conntrack.remove(flow);
  const [host, guests] = [find("host"), find("guests")];
  if (host === undefined || guests === undefined) throw new TypeError("no veth");
  return {
    conntrack,
    track: async (tuple) => {
      frames.send([{ ifindex: guests.ifindex, bytes: frameOf(host.mac, tuple) }]);
      await expect.poll(() => [...conntrack.flows(tuple.zone)].map(withoutId)).toContainEqual(tuple);
    },
  };
}

const withoutId = ({ id: _, reply: __, ...tuple }: Flow): Tuple => tuple;
const tuplesOf = ({ conntrack }: World, zone: number): readonly Tuple[] => [...conntrack.flows(zone)].map(withoutId);
function only(flows: Iterable<Flow>, tuple: Tuple): Flow {
  const [flow, ...more] = [...flows].filter((held) => held.fromPort === tuple.fromPort && held.from === tuple.from);
  if (flow === undefined || more.length > 0) throw new TypeError("not one flow");
  return flow;
}

describe.each([
  ["memory", memoryWorld],
  ["kernel", kernelWorld],
])("tracked flows (%s)", (_, open) => {
  test.each([
    ["UDP", opened(7, 4001)],
    ["UDP over IPv6", opened6(7, 4001)],
    ["an echo request", { ...ends4(7), protocol: ICMP, fromPort: 4001, toPort: ECHO << 8 }],
    ["an echo request of ICMPv6", { ...ends6(7), protocol: ICMPV6, fromPort: 4001, toPort: ICMP6.echo << 8 }],
    ["a protocol without ports", { ...ends4(7), protocol: OSPF, fromPort: 0, toPort: 0 }],
    ["a protocol without ports over IPv6", { ...ends6(7), protocol: OSPF, fromPort: 0, toPort: 0 }],
  ] as const)("%s: told as it was opened, removed once, nothing else with it", async (_what, tuple) => {
    const world = open();
    const others = [opened(7, 999), opened6(7, 999), { ...ends4(7), protocol: ICMP, fromPort: 999, toPort: ECHO << 8 }];
    for (const other of [tuple, ...others]) await world.track(other);
    const flow = only(world.conntrack.flows(7), tuple);
    expect(withoutId(flow)).toEqual(tuple);
    expect(world.conntrack.remove(flow)).toBe(true);
    expect(tuplesOf(world, 7)).toHaveLength(others.length);
    expect(tuplesOf(world, 7)).toEqual(expect.arrayContaining(others));
    expect(world.conntrack.remove(flow), "twice").toBe(false);
    world.conntrack.close();
  });

  test("each zone has its own flows, one removed here stays there", async () => {
    const world = open();
    await world.track(opened(7, 4001));
    await world.track(opened(8, 4001));
    await world.track(opened6(8, 4001));
    expect(tuplesOf(world, 7)).toEqual([opened(7, 4001)]);
    expect(tuplesOf(world, 8)).toHaveLength(2);
    expect(tuplesOf(world, 9)).toEqual([]);
    const flow = only(world.conntrack.flows(8), opened(8, 4001));
    expect(world.conntrack.remove({ ...flow, zone: 7 }), "of another zone").toBe(false);
    expect(world.conntrack.remove(flow)).toBe(true);
    expect(tuplesOf(world, 7)).toEqual([opened(7, 4001)]);
    expect(tuplesOf(world, 8)).toEqual([opened6(8, 4001)]);
    world.conntrack.close();
  });

  test("a flow that is not the one that was told stays", async () => {
    const world = open();
    await world.track(opened(7, 4001));
    const flow = only(world.conntrack.flows(7), opened(7, 4001));
    expect(world.conntrack.remove({ ...flow, id: flow.id ^ 1 })).toBe(false);
    expect(tuplesOf(world, 7)).toEqual([opened(7, 4001)]);
    expect(world.conntrack.remove(flow)).toBe(true);
    await world.track(opened(7, 4001));
    expect(tuplesOf(world, 7), "opened again").toEqual([opened(7, 4001)]);
    world.conntrack.close();
  });

  test("a walk may remove what it meets, and may be given up", async () => {
    const world = open();
    const ports = Array.from({ length: 40 }, (_, i) => 5000 + i);
    for (const port of ports) await world.track(opened(7, port));
    let met = 0;
    for (const flow of world.conntrack.flows(7)) {
      met += 1;
      if (flow.fromPort % 2 === 0) expect(world.conntrack.remove(flow)).toBe(true);
    }
    expect(met).toBe(40);
    expect(tuplesOf(world, 7).map(({ fromPort }) => fromPort % 2)).toEqual(Array.from({ length: 20 }, () => 1));
    for (const flow of world.conntrack.flows(7)) {
      expect(world.conntrack.remove(flow)).toBe(true);
      break;
    }
    expect(tuplesOf(world, 7)).toHaveLength(19);
    world.conntrack.close();
  });
});

test("a walk through thousands, each removed on the way, misses none", async () => {
  const { conntrack } = kernelWorld();
  const [host, guests] = [find("host"), find("guests")];
  if (host === undefined || guests === undefined) throw new TypeError("no veth");
  const count = 5000;
  const bytes = Array.from({ length: count }, (_, i) => frameOf(host.mac, opened(7, 10_000 + i)));
  // In parts, so that the queue of the veth (1 000 by default, netdev_max_backlog) holds them.
  for (let i = 0; i < count; i += 500) {
    frames.send(bytes.slice(i, i + 500).map((frame) => ({ ifindex: guests.ifindex, bytes: frame })));
    await expect.poll(() => [...conntrack.flows(7)].length).toBe(i + 500);
  }
  const met = new Set<number>();
  for (const flow of conntrack.flows(7)) {
    met.add(flow.fromPort);
    expect(conntrack.remove(flow)).toBe(true);
  }
  expect(met.size).toBe(count);
  expect([...conntrack.flows(7)]).toEqual([]);
  conntrack.close();
});

test("who answers is told beside it: behind a translated address whoever that leads to", async () => {
  const { conntrack, track } = kernelWorld();
  command(
    "nft",
    `table ip lead {
	chain lead {
		type nat hook prerouting priority dstnat;
		ip daddr 10.7.0.1 udp dport 5353 dnat to 10.8.0.1:53
	}
}`,
  );
  const plain = opened(7, 4501);
  const led: Tuple = { ...opened(7, 4502), toPort: 5353 };
  await track(plain);
  await track(led);
  expect(only(conntrack.flows(7), plain).reply).toEqual({ from: plain.to, to: plain.from, fromPort: 53, toPort: 4501 });
  expect(only(conntrack.flows(7), led).reply).toEqual({
    from: ip4Of("10.8.0.1"),
    to: led.from,
    fromPort: 53,
    toPort: 4502,
  });
  command("nft", "delete", "table", "ip", "lead");
  conntrack.close();
});

test("what is told is what another program sees", async () => {
  const { conntrack, track } = kernelWorld();
  await track(opened(7, 4321));
  await track(opened6(8, 4322));
  const seen = (family: string, zone: string): string =>
    // It tells how many there were on its error output.
    command("sh", "-c", `conntrack -L -f ${family} -w ${zone} 2>/dev/null`);
  expect(seen("ipv4", "7")).toMatch(/^udp +17 .*src=10\.7\.0\.2 dst=10\.7\.0\.1 sport=4321 dport=53 .*zone=7/m);
  expect(seen("ipv6", "8")).toMatch(/src=fd00:8::2 dst=fd00:8::1 sport=4322 dport=53 .*zone=8/);
  expect(conntrack.remove(only(conntrack.flows(7), opened(7, 4321)))).toBe(true);
  expect(seen("ipv4", "7")).not.toContain("sport=4321");
  expect(seen("ipv6", "8"), "the other one").toContain("sport=4322");
  conntrack.close();
});
