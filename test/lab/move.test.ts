/** A guest moves from one host to another on the real kernel (invariant I18): who answers for it, who reaches it, and what a host that is killed on the way leaves. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { arp, ethernet, ip4Of, NO_MAC } from "../../src/lab/forge.ts";
import { ICMP6, icmp6, ip6, linkLayer, ND_OPTION, NEXT, neighbourMessage } from "../../src/lab/forge6.ts";
import { patience } from "../../src/lab/patience.ts";
import { type Sniffer, sniff } from "../../src/lab/sniff.ts";
import { type GuestBox, globalOf, type HostBox } from "../../src/lab/topology.ts";
import { multicastMac6, solicitedNode } from "../../src/model/ipv6.ts";
import { BROADCAST_MAC, macFromBytes } from "../../src/model/mac.ts";
import { toHex } from "../../src/packet/hex.ts";
import { startBarrage } from "../support/barrage.ts";
import { type FleetLab, outside, raiseFleetLab } from "../support/fleet-lab.ts";
import { flowsIn, goOn } from "../support/flows.ts";
import { eventually, guestAt, pings } from "../support/guarded-lab.ts";
import { longestGap, startPing } from "../support/ping.ts";

const own = process.pid.toString(36);
/** Of the LAN's prefix, and nobody's: what is learned of it troubles nobody. */
const ASKER = ip4Of("203.0.113.200");
const PROBES = 12_000;
const PER_SECOND = 1_000;
const WEB = 80;
const isIp6 = (probe: number): boolean => probe % 10 === 0;

/** Each asks with a MAC of its own, so that its answers can be counted. */
const macOfProbe = (probe: number) => macFromBytes(Uint8Array.of(6, 0, 0, 0, probe >> 8, probe));

function probeFor(guest: GuestBox, probe: number): Uint8Array {
  const mac = macOfProbe(probe);
  if (!isIp6(probe)) {
    const fields = { operation: 1, senderMac: mac, senderIp: ASKER, targetMac: NO_MAC, targetIp: guest.address };
    return ethernet(BROADCAST_MAC, mac, 0x0806, arp(fields));
  }
  const target = globalOf(guest);
  const ends = { from: globalOf({ mac }), to: solicitedNode(target) };
  const message = neighbourMessage(ICMP6.neighbourSolicitation, target, [linkLayer(ND_OPTION.source, mac)]);
  const packet = ip6({ ...ends, next: NEXT.icmp6, hopLimit: 255 }, icmp6(ends, message));
  return ethernet(macFromBytes(multicastMac6(ends.to)), mac, 0x86dd, packet);
}

/** Probes that were answered from there, one for each answer. */
function answeredBy(at: Sniffer): readonly number[] {
  return at
    .frames()
    .flatMap((frame) => (toHex(frame.subarray(0, 4)) === "06000000" ? [((frame[4] ?? 0) << 8) | (frame[5] ?? 0)] : []));
}

describe.each(["bridged", "routed"] as const)("%s", (wiring) => {
  let fleet: FleetLab;
  const refusal = (call: Promise<unknown>): Promise<unknown> =>
    call.then(
      () => "done",
      ({ code }) => code,
    );
  const isReached = (from = "neighbour"): Promise<boolean> => pings(fleet.lab, from, fleet.mover.address);
  const isUp = async (host: HostBox): Promise<boolean> =>
    (await fleet.lab.must(host, ["ip", "-br", "link", "show", fleet.portAt[host]])).includes("UP");
  const portsUp = async (): Promise<readonly boolean[]> => [await isUp("host"), await isUp("host2")];

  beforeAll(async () => {
    fleet = await raiseFleetLab(`mv${wiring.charAt(0)}${own}`, wiring, {
      nics: { guest1: "rates: { arp: 5000, nd: 5000 }" },
    });
  });
  afterAll(async () => {
    await fleet?.down();
  });

  test("moves there and back while everybody asks for it: no question is ever answered by two", async () => {
    const { lab, mover } = fleet;
    const sniffers = [await sniff(lab, "lan", "host"), await sniff(lab, "lan", "host2")] as const;
    const ping = await startPing(lab, "neighbour", mover.address);
    const frames = Array.from({ length: PROBES }, (_, i) => probeFor(mover, i));
    const barrage = await startBarrage(lab, "neighbour", frames, PER_SECOND);
    try {
      await barrage.more(PER_SECOND / 2);
      expect(answeredBy(sniffers[1]), "control: the other host is silent").toEqual([]);
      for (const host of ["host2", "host", "host2"] as const) {
        await fleet.move(host);
        await barrage.more(PER_SECOND / 2);
      }
      expect(barrage.sent(), "each question was asked once").toBeLessThan(PROBES);
    } finally {
      await barrage.stop();
    }
    const gap = longestGap(await ping.stop());
    for (const sniffer of sniffers) await sniffer.stop();
    const [first, second] = [answeredBy(sniffers[0]), answeredBy(sniffers[1])];
    for (const answers of [first, second]) {
      expect(answers.filter((probe) => !isIp6(probe)).length, "ARP was answered").toBeGreaterThan(100);
      expect(answers.filter(isIp6).length, "and neighbour discovery").toBeGreaterThan(10);
    }
    const all = [...first, ...second];
    expect(all.length - new Set(all).size, "answered twice").toBe(0);
    expect(gap, "longest silence, in milliseconds").toBeLessThan(patience(2_000));
  });

  test("then it is reached by the neighbour, by a guest of the host it left and by one of the host it came to, in both families", async () => {
    const { lab, mover, guests } = fleet;
    const [there, left] = [guestAt(guests, 1), guestAt(guests, 2)];
    expect([there.on, left.on, await portsUp()]).toEqual(["host2", "host", [false, true]]);
    const failed: string[] = [];
    for (const box of ["neighbour", there.box, left.box])
      for (const address of [mover.address, globalOf(mover)])
        if (!(await pings(lab, box, address))) failed.push(`${box} to ${address}`);
    for (const address of [there.address, left.address, globalOf(left)])
      if (!(await pings(lab, mover.box, address))) failed.push(`mover to ${address}`);
    expect(failed).toEqual([]);
    const [port] = (await fleet.agentAt("host").operations.status()).ports;
    expect(port).toMatchObject({
      port: fleet.portAt.host,
      state: "moved",
      why: "moved to port 'vif9.0' of host 'host2'",
    });
  });

  test("the host it left answers for it in no way: no route, no proxy entry, no bridge port", async () => {
    const { lab, mover, portAt } = fleet;
    const kept = async (host: HostBox): Promise<string> =>
      (
        await Promise.all([
          lab.must(host, ["ip", "route", "show", "proto", "118"]),
          lab.must(host, ["ip", "neigh", "show", "proxy"]),
          lab.must(host, ["bridge", "fdb", "show", "dev", portAt[host]]),
        ])
      ).join("");
    const trace = wiring === "routed" ? mover.address : mover.mac;
    expect(await kept("host2"), "control").toContain(trace);
    expect(await kept("host")).not.toContain(trace);
  });

  test("a host whose agent is dead keeps its guest; the other waits, and has it as soon as the agent is back", async () => {
    const { agentAt, portAt, mover } = fleet;
    await agentAt("host2").stop();
    const request = { port: portAt.host, guest: mover.box, move: "ask" } as const;
    expect(await refusal(agentAt("host").operations.attach(request))).toBe("MOVE_WAITING");
    expect([await portsUp(), await isReached()]).toEqual([[false, true], true]);
    await fleet.startAgent("host2");
    expect(await eventually(() => isUp("host"))).toBe(true);
    expect([await portsUp(), await isReached()]).toEqual([[true, false], true]);
  });

  test("who dies after it asked gets the NIC all the same, and opens its port when it is back: until then nobody answers", async () => {
    const { agentAt, portAt, mover } = fleet;
    await agentAt("host").stop();
    const request = { port: portAt.host2, guest: mover.box, move: "ask" } as const;
    expect(await refusal(agentAt("host2").operations.attach(request))).toBe("MOVE_WAITING");
    await agentAt("host2").stop();
    await fleet.startAgent("host");
    expect(await eventually(async () => !(await isUp("host")))).toBe(true);
    expect(await portsUp()).toEqual([false, false]);
    await fleet.startAgent("host2");
    expect([await portsUp(), await isReached()]).toEqual([[false, true], true]);
  });

  test("a port that cannot be had leaves the guest where it is", async () => {
    const request = { port: "vif99.0", guest: fleet.mover.box, move: "ask" } as const;
    expect(await refusal(fleet.agentAt("host").operations.attach(request))).toBe("PORT_MISSING");
    expect([await portsUp(), await isReached()]).toEqual([[false, true], true]);
  });

  test("by force it is taken from a host that is off; the late one shuts its port before it is asked anything", async () => {
    const { agentAt, portAt, mover } = fleet;
    await agentAt("host2").stop();
    const request = { port: portAt.host, guest: mover.box, move: "force" } as const;
    expect(await refusal(agentAt("host").operations.attach(request))).toBe("done");
    expect(await portsUp(), "what --force is warned of").toEqual([true, true]);
    await fleet.startAgent("host2");
    // As a guest that is started anew: nobody could say whom it knew.
    await fleet.lab.must(mover.box, ["ip", "neigh", "flush", "all"]);
    expect([await portsUp(), await isReached()]).toEqual([[true, false], true]);
  });
});

describe.each(["brouted", "transport", "nat"] as const)("%s", (wiring) => {
  let fleet: FleetLab;
  beforeAll(async () => {
    fleet = await raiseFleetLab(`mo${wiring.charAt(0)}${own}`, wiring);
  });
  afterAll(async () => {
    await fleet?.down();
  });

  /** Whatever of the host's links and routing leads to the mover, or answers for it. */
  async function kept(host: HostBox): Promise<string> {
    const { lab, mover, portAt } = fleet;
    const show = "ip route show proto 118; ip -6 route show proto 118; ip neigh show proxy; ip -6 neigh show proxy";
    const routes = await lab.must(host, ["sh", "-c", `${show}; bridge fdb show dev ${portAt[host]}`]);
    const traces = [outside(mover), mover.address, globalOf(mover), mover.mac];
    return routes
      .split("\n")
      .filter((line) => traces.some((trace) => line.includes(trace)))
      .join("\n");
  }

  /** Whoever does not reach whom, of both families. */
  async function unreached(): Promise<readonly string[]> {
    const { lab, mover, guests } = fleet;
    const others = [guestAt(guests, 1), guestAt(guests, 2)];
    const pairs = [
      ...["neighbour", ...others.map(({ box }) => box)].flatMap((box) =>
        [outside(mover), globalOf(mover)].map((address) => [box, address] as const),
      ),
      ...others.flatMap((other) => [outside(other), globalOf(other)].map((address) => [mover.box, address] as const)),
    ];
    const reached = await Promise.all(pairs.map(([box, address]) => pings(lab, box, address)));
    return pairs.flatMap(([box, address], n) => (reached[n] === true ? [] : [`${box} to ${address}`]));
  }

  test("is prepared there while it is served here, then moves and is reached by everybody in both families, and back again; connections go on", async () => {
    const { lab, mover, portAt } = fleet;
    const flows = flowsIn(lab);
    const neighbour = lab.topology.neighbour.address;
    for (const box of ["neighbour", mover.box] as const) await flows.serve(box, WEB);
    const streams = [
      await flows.stream("neighbour", outside(mover), WEB),
      await flows.stream(mover.box, neighbour, WEB),
    ];
    const ping = await startPing(lab, "neighbour", outside(mover));
    await fleet.prepare("host2");
    expect(await kept("host2"), "prepared, and found by nobody").toBe("");
    expect(await lab.must("host2", ["ip", "-br", "link", "show", portAt.host2])).toContain("DOWN");
    for (const [on, other] of [
      ["host2", "host"],
      ["host", "host2"],
    ] as const) {
      await fleet.move(on);
      expect(await kept(on), `control: ${on} answers for it`).not.toBe("");
      expect(await kept(other), `${other} does not any more`).toBe("");
      expect(await unreached(), `on ${on}`).toEqual([]);
      await goOn(streams, `on ${on}`);
    }
    expect(longestGap(await ping.stop()), "longest silence, in milliseconds").toBeLessThan(patience(2_000));
    for (const stream of streams) await stream.stop();
  });
});
