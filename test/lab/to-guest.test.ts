/**
 * What the LAN tells a guest (contract section 3): every lie of another machine is stopped at the guest's port and counted under its line,
 * and what is true and meant for the guest arrives, sent after the lies by the same machine.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AttackContext, arpReply, arpRequest, ETHER, udpTo } from "../../src/lab/attack.ts";
import {
  ALL_NODES,
  advertise,
  dhcp6To,
  echoTo,
  frame6,
  groupMac,
  icmp6To,
  ownSource,
  solicit,
  udp6To,
} from "../../src/lab/attack6.ts";
import { dhcp, ethernet, ip4, join, udp } from "../../src/lab/forge.ts";
import {
  dhcp6,
  ICMP6,
  icmp6,
  ip6Of,
  linkLayer,
  mld2Query,
  ND_OPTION,
  NEXT,
  neighbourMessage,
  optionsHeader,
  prefixOption,
  routerAdvertisement,
} from "../../src/lab/forge6.ts";
import { type Sniffer, sniff } from "../../src/lab/sniff.ts";
import { GATEWAY6, type GuestBox, globalOf, LAB_PREFIX6, llOf } from "../../src/lab/topology.ts";
import { sendFrames } from "../../src/lab/trial.ts";
import { ipv4FromNumber } from "../../src/model/ipv4.ts";
import { ipv6ToBytes, prefix6Bounds } from "../../src/model/ipv6.ts";
import { BROADCAST_MAC } from "../../src/model/mac.ts";
import type { Reason } from "../../src/model/reasons.ts";
import {
  dropsOf,
  eventually,
  type GuardedLab,
  guestAt,
  moreThan,
  pings,
  raiseGuardedLab,
} from "../support/guarded-lab.ts";

const own = process.pid.toString(36);
const EVERYBODY = ipv4FromNumber(0xffff_ffff);

interface Lie {
  readonly says: string;
  readonly reason: Reason;
  readonly frame: Uint8Array;
}

const prefixed = prefixOption(ip6Of("2001:db8:bad::"), 64);

/** The neighbour speaks: in this context it is "self", the guest is whom it speaks to, and the other guest the victim. */
function liesOf(c: AttackContext, other: GuestBox): readonly Lie[] {
  const guest = c.neighbour;
  const lie = (says: string, reason: Reason, frame: Uint8Array): Lie => ({ says, reason, frame });
  const toAll = { to: ALL_NODES, toMac: groupMac(ALL_NODES) };
  const ra = routerAdvertisement(1800, [prefixed, ownSource(c)]);
  const redirect = join(
    [ICMP6.redirect, 0, 0, 0, 0, 0, 0, 0],
    ipv6ToBytes(llOf(c.self)),
    ipv6ToBytes(globalOf(other)),
    linkLayer(ND_OPTION.target, c.self.mac),
  );
  const answer = dhcp({ op: 2, xid: c.serial, chaddr: guest.mac, options: [53, 1, 5] });
  const dhcp4 = ip4({ from: c.self.address, to: guest.address, protocol: 17, id: c.serial }, udp(67, 68, answer));
  const ends = { from: llOf(c.self), to: llOf(guest) };
  const claim = neighbourMessage(
    ICMP6.neighbourAdvertisement,
    globalOf(other),
    [linkLayer(ND_OPTION.target, c.self.mac)],
    0x20,
  );
  const hidden = optionsHeader(NEXT.icmp6);
  const behind = (message: Uint8Array): Uint8Array =>
    frame6(c, guest.mac, { ...ends, next: NEXT.options, hopLimit: 255 }, join(hidden, icmp6(ends, message)));
  return [
    lie("a router advertisement to all", "ra", icmp6To(c, ra, { from: llOf(c.self), ...toAll })),
    lie("a router advertisement to the guest alone", "ra", icmp6To(c, ra, { from: llOf(c.self), to: llOf(guest) })),
    lie(
      "the gateway's end, in its name but from afar",
      "ra",
      icmp6To(c, routerAdvertisement(0, []), { from: GATEWAY6, ...toAll, hopLimit: 64 }),
    ),
    lie("a redirect", "ra", icmp6To(c, redirect, { from: llOf(c.self), to: llOf(guest) })),
    lie("a redirect in the gateway's name", "ra", icmp6To(c, redirect, { from: GATEWAY6, to: globalOf(guest) })),
    lie("a router advertisement behind options", "ip6-shape", behind(ra)),
    lie("a claim to another guest's IPv6 address, to all", "nd", icmp6To(c, claim, { from: llOf(c.self), ...toAll })),
    lie("a claim to another guest's IPv6 address", "nd", icmp6To(c, claim, { from: llOf(c.self), to: llOf(guest) })),
    lie(
      "an announcement of an address nobody knows, to all",
      "not-for-guest",
      advertise({ ...c, self: { ...c.self, address: guest.address } }, ip6Of("2001:db8:66::77"), { to: "everybody" }),
    ),
    lie("a question in another guest's name", "nd", solicit(c, globalOf(guest), { from: globalOf(other) })),
    lie("a question for another guest", "not-for-guest", solicit(c, globalOf(other))),
    lie("a question that came through a router", "nd", solicit(c, globalOf(guest), { hopLimit: 64 })),
    lie("a DHCPv6 answer", "dhcp-server", dhcp6To(c, dhcp6(2, c.serial, []), { to: llOf(guest), ports: [547, 546] })),
    lie(
      "IPv6 for another guest, to this one's MAC",
      "not-for-guest",
      udp6To(c, { to: globalOf(other), toMac: guest.mac }),
    ),
    lie(
      "a query for groups where none is allowed",
      "multicast",
      icmp6To(c, mld2Query(), { from: llOf(c.self), ...toAll, hopLimit: 1 }),
    ),
    lie("multicast DNS", "multicast", udp6To(c, { to: ip6Of("ff02::fb"), toMac: groupMac(ip6Of("ff02::fb")) })),
    lie("a DHCP answer", "dhcp-server", ethernet(guest.mac, c.self.mac, ETHER.ip, dhcp4)),
    lie(
      "a claim to another guest's address",
      "arp-sender",
      arpReply(c, { mac: c.self.mac, address: other.address }, guest),
    ),
    lie(
      "a claim to the gateway's address, to nobody",
      "not-for-guest",
      arpReply(c, { mac: c.self.mac, address: c.gateway.address }, { ...guest, address: other.address }),
    ),
    lie("a question for another guest's address", "not-for-guest", arpRequest(c, c.self, other.address)),
    lie(
      "IPv4 for another guest, to this one's MAC",
      "not-for-guest",
      udpTo(c, { to: other.address, toMac: guest.mac }),
    ),
    lie("a broadcast", "broadcast", udpTo(c, { toMac: BROADCAST_MAC, to: EVERYBODY })),
    lie("a frame with a tag", "vlan", tagged(udpTo(c))),
    lie("a frame of another type", "ethertype", ethernet(guest.mac, c.self.mac, 0x88cc, new Uint8Array(46))),
  ];
}

function tagged(frame: Uint8Array): Uint8Array {
  return join(frame.subarray(0, 12), [0x81, 0, 0, 1], frame.subarray(12));
}

describe("on its way to a guest", () => {
  let guarded: GuardedLab;
  let at: Sniffer;
  let context: AttackContext;
  let guest: GuestBox;
  let other: GuestBox;
  beforeAll(async () => {
    guarded = await raiseGuardedLab(`too${own}`, 2);
    const { topology } = guarded.lab;
    [guest, other] = [guestAt(guarded.guests, 0), guestAt(guarded.guests, 1)];
    const { neighbour, gateway, host, prefix4 } = topology;
    context = { self: neighbour, gateway, neighbour: guest, victim: other, host, prefix4, serial: 1 };
    at = await sniff(guarded.lab, guest.box);
  });
  afterAll(async () => {
    await at?.stop();
    await guarded?.lab.down();
  });

  test("no lie of the LAN arrives, each is counted under its line, and the truth arrives behind them", async () => {
    for (const [n, { says, reason, frame }] of liesOf(context, other).entries()) {
      const since = at.frames().length;
      const before = await dropsOf(guarded, guest.port, "to-guest");
      const truth = echoTo({ ...context, serial: 100 + n });
      await sendFrames(guarded.lab, "neighbour", [frame, truth]);
      expect(await eventually(async () => at.has(truth, since)), `control behind: ${says}`).toBe(true);
      expect(at.has(frame, since), says).toBe(false);
      const counted = moreThan(before, await dropsOf(guarded, guest.port, "to-guest"));
      expect([...counted.keys()], says).toContain(reason);
    }
  });

  test("what is true and for the guest arrives", async () => {
    const { gateway, prefix6 } = guarded.lab.topology;
    const fromGateway = { ...context, self: gateway };
    const prefix = prefixOption(ip6Of(LAB_PREFIX6.replace("/64", "")), prefix6Bounds(prefix6).length);
    const ra = icmp6To(fromGateway, routerAdvertisement(1800, [prefix]), {
      from: GATEWAY6,
      to: ALL_NODES,
      toMac: groupMac(ALL_NODES),
    });
    const truths: readonly (readonly [string, "neighbour" | "gw", Uint8Array])[] = [
      ["a question for its IPv4 address", "neighbour", arpRequest(context, context.self, guest.address)],
      ["a question for its IPv6 address", "neighbour", solicit({ ...context, serial: 300 }, globalOf(guest))],
      ["UDP", "neighbour", udpTo({ ...context, serial: 301 })],
      ["UDP by IPv6", "neighbour", udp6To({ ...context, serial: 302 })],
      [
        "an advertisement of the neighbour itself",
        "neighbour",
        advertise({ ...context, serial: 303 }, globalOf(context.self)),
      ],
      ["the gateway's router advertisement", "gw", ra],
      ["the gateway's announcement", "gw", arpRequest(fromGateway, gateway, gateway.address)],
    ];
    for (const [says, from, frame] of truths) {
      const since = at.frames().length;
      await sendFrames(guarded.lab, from, [frame]);
      expect(await eventually(async () => at.has(frame, since), 3000), says).toBe(true);
    }
  });

  test("a machine of the LAN that speaks with the guest's MAC does not move it in the switch table (I5)", async () => {
    const { lab } = guarded;
    const fdb = (): Promise<string> => lab.must("host", ["bridge", "fdb", "show", "br", "br0"]);
    const places = async (mac: string): Promise<readonly string[]> => [
      ...new Set((await fdb()).split("\n").flatMap((line) => (line.startsWith(mac) ? [line.split(" ")[2] ?? ""] : []))),
    ];
    const stolen = arpRequest({ ...context, self: { ...context.self, mac: guest.mac } }, context.self, guest.address);
    const known = arpRequest(context, context.self, guest.address);
    const since = at.frames().length;
    await sendFrames(lab, "neighbour", [stolen, known]);
    expect(await eventually(async () => at.has(known, since)), "control: both have crossed the switch").toBe(true);
    expect(await places(context.self.mac), "control: the switch learns where others are").toEqual(["eth0"]);
    expect(await places(guest.mac)).toEqual([guest.port]);
    expect(await pings(lab, guest.box, guarded.lab.topology.gateway.address), "and the guest is not cut off").toBe(
      true,
    );
  });
});
