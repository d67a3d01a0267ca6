/** What the rules make of a brouted guest's frames, octet by octet: the answer that the responder would have given, and frames on their way with the MAC of who is to have them. */
import { describe, expect, test } from "vitest";
import { answerNeighbour } from "../addressing/neighbour-answers.ts";
import { type Ipv4Address, parseIpv4, parsePrefix4 } from "../model/ipv4.ts";
import { type Ipv6Address, ipv6ToBytes, linkLocalOf, parseIpv6, parsePrefix6 } from "../model/ipv6.ts";
import { type MacAddress, macToBytes, parseMac } from "../model/mac.ts";
import { ratesOf } from "../model/rates.ts";
import { BROUTED_GATEWAY6, HOST_PORT_MAC } from "../model/wiring.ts";
import { arpCodec } from "../packet/arp.ts";
import { ethernetCodec } from "../packet/ethernet.ts";
import { icmp6Frame } from "../packet/frame6.ts";
import { nd } from "../packet/nd.ts";
import { broutedMark, portOfMark } from "./brouted-elements.ts";
import { concatKey, hostU32, type PlacedElement } from "./element-bytes.ts";
import { networkElements, type PortBinding, portElements } from "./elements.ts";
import { guardTable } from "./guard.ts";
import { judge, type Ruling } from "./judge.ts";
import { elementsWorld } from "./world.ts";

function known<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("not what it says");
  return value;
}
const mac = (text: string): MacAddress => known(parseMac(text));
const ip4 = (text: string): Ipv4Address => known(parseIpv4(text));
const ip6 = (text: string): Ipv6Address => known(parseIpv6(text));

const [guest, bridge, asker] = [mac("fe:00:0a:00:00:0a"), mac("02:00:00:00:00:03"), mac("02:00:00:00:00:99")];
const [own4, own6, other4] = [ip4("10.0.0.10"), ip6("2001:db8::a"), ip4("10.0.0.99")];
const prefix6 = known(parsePrefix6("2001:db8::/64"));
const binding: PortBinding = {
  ifindex: 7,
  mac: guest,
  sources: [
    { what: { kind: "address4", address: own4 }, mac: guest },
    { what: { kind: "address6", address: own6 }, mac: guest },
    { what: { kind: "address6", address: linkLocalOf(guest) }, mac: guest },
  ],
  network: 70_000,
  roles: [],
  unchecked: [],
  observed: false,
  rates: ratesOf({}, {}),
  brouter: { ifindex: 3, mac: bridge },
};
const network = networkElements({
  network: 70_000,
  prefix4: known(parsePrefix4("10.0.0.0/24")),
  gateway4: ip4("10.0.0.1"),
  gateway6: BROUTED_GATEWAY6,
  gatewayMac: HOST_PORT_MAC,
  hostServices: [],
  multicast: [],
  members: [],
  brouted: { prefix6 },
});

function ruling(direction: "from" | "to", frame: Uint8Array, ...more: readonly PlacedElement[]): Ruling {
  const world = elementsWorld([...network, ...portElements(binding), ...more], () => false);
  return judge(guardTable, direction === "from" ? "from_guest" : "to_guest", frame, { direction, ifindex: 7 }, world);
}

const arp = (
  operation: 1 | 2,
  ends: {
    readonly to: MacAddress;
    readonly from?: MacAddress;
    readonly sender?: Ipv4Address;
    readonly target: Ipv4Address;
  },
): Uint8Array =>
  ethernetCodec.encode({
    destination: ends.to,
    source: ends.from ?? guest,
    type: 0x0806,
    payload: arpCodec.encode({
      operation,
      senderMac: ends.from ?? guest,
      senderIp: ends.sender ?? own4,
      targetMac: mac("00:00:00:00:00:00"),
      targetIp: ends.target,
    }),
  });

const everybody = mac("ff:ff:ff:ff:ff:ff");

function solicitation(from: Ipv6Address, to: { readonly mac: MacAddress; readonly address: Ipv6Address }): Uint8Array {
  const message = new Uint8Array(32);
  message[0] = nd.solicitation;
  message.set(ipv6ToBytes(BROUTED_GATEWAY6), 8);
  message.set([1, 1, ...macToBytes(guest)], 24);
  const ends = {
    destinationMac: to.mac,
    sourceMac: guest,
    source: ipv6ToBytes(from),
    destination: ipv6ToBytes(to.address),
  };
  return icmp6Frame(ends, message);
}

const group = { mac: mac("33:33:ff:ff:ff:fe"), address: ip6("ff02::1:ffff:fffe") };
const straight = { mac: HOST_PORT_MAC, address: BROUTED_GATEWAY6 };
const router = { prefix: prefix6, gateway: BROUTED_GATEWAY6, gatewayMac: HOST_PORT_MAC, dns: [], offLink: true };

/** As the agent says it. */
function answer(frame: Uint8Array): Uint8Array {
  const said = answerNeighbour(frame, () => HOST_PORT_MAC, router, HOST_PORT_MAC);
  if (!said.ok) throw new TypeError(said.why);
  return said.value;
}

describe("a question of the guest", () => {
  const questions = {
    "for a neighbour": arp(1, { to: everybody, target: other4 }),
    "for its gateway": arp(1, { to: everybody, target: ip4("10.0.0.1") }),
    "whether a neighbour is still there": arp(1, { to: HOST_PORT_MAC, target: other4 }),
    "for its router": solicitation(own6, group),
    "for its router, from its link-local address": solicitation(linkLocalOf(guest), group),
    "whether its router is still there": solicitation(own6, straight),
  };
  test.each(Object.entries(questions))("%s becomes the answer that the responder would give", (_, frame) => {
    const { sentBack, verdict, reason } = ruling("from", frame);
    expect([verdict, reason]).toEqual(["drop", undefined]);
    // The kernel counts down no hop on a link, and neither do the rules; all else is the same to the octet, the checksum too.
    expect(Buffer.from(sentBack ?? []).toString("hex")).toBe(Buffer.from(answer(frame)).toString("hex"));
  });
  test("for its own address is for others to answer", () => {
    const probe = arp(1, { to: everybody, sender: ip4("0.0.0.0"), target: own4 });
    expect(ruling("from", probe)).toMatchObject({ verdict: "accept", sentBack: undefined });
  });
  test("from an address whose checksum nobody knows is left to the agent", () => {
    const beat = { family: "netdev", set: "suppress", key: hostU32(70_000) } as const;
    const without = network.concat(portElements(binding)).filter(({ set }) => set !== "router_sums");
    const world = elementsWorld([...without, beat], () => false);
    const frame = solicitation(own6, group);
    const { verdict, groups, sentBack } = judge(
      guardTable,
      "from_guest",
      frame,
      { direction: "from", ifindex: 7 },
      world,
    );
    expect({ verdict, groups, sentBack }).toEqual({ verdict: "drop", groups: [7070], sentBack: undefined });
  });
});

describe("a question of the LAN", () => {
  const question = arp(1, { to: everybody, from: asker, sender: other4, target: own4 });
  const waiting: PlacedElement = {
    family: "netdev",
    set: "askers",
    key: concatKey(hostU32(7), Uint8Array.of(10, 0, 0, 99)),
    data: macToBytes(asker),
  };
  test("reaches the guest, and its answer who asked", () => {
    expect(ruling("to", question)).toMatchObject({ verdict: "accept" });
    const reply = arp(2, { to: HOST_PORT_MAC, target: other4 });
    expect(ruling("from", reply, waiting)).toMatchObject({ verdict: "accept" });
    expect(ruling("from", reply, waiting).looks.filter(({ set }) => set === "askers")).not.toEqual([]);
  });
  test.each([
    [
      "for somebody else",
      arp(1, { to: everybody, from: asker, sender: other4, target: ip4("10.0.0.11") }),
      "not-for-guest",
    ],
    ["that is an answer", arp(2, { to: guest, from: asker, sender: other4, target: own4 }), "not-for-guest"],
    ["in the guest's own name", arp(1, { to: everybody, from: asker, sender: own4, target: own4 }), "arp-sender"],
  ])("%s does not", (_, frame, reason) => {
    const member = {
      family: "netdev",
      set: "known4",
      key: concatKey(hostU32(70_000), Uint8Array.of(10, 0, 0, 10)),
    } as const;
    expect(ruling("to", frame, member)).toMatchObject({ verdict: "drop", reason });
  });
});

test("a mark says whose port it was", () => {
  expect([7, 12_287, 0xff_ff_ff].map((ifindex) => portOfMark(broutedMark(ifindex)))).toEqual([7, 12_287, 0xff_ff_ff]);
});
