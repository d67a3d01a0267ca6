/** Lies about routes, told to one machine of the LAN instead of a group: routers that speak RIP, OSPF, EIGRP or Babel on a link may believe whoever answers. */
import { ipv4ToBytes } from "../model/ipv4.ts";
import {
  type Attack,
  type AttackContext,
  type Build,
  ETHER,
  honestUdp,
  idOf,
  neighbourHop,
  PROTOCOL,
  payloadOf,
} from "./attack.ts";
import { endsOf, frame6, honestUdp6, udp6To } from "./attack6.ts";
import { ethernet, ip4, join, u16, u32, udp } from "./forge.ts";
import { NEXT, optionsHeader, ROUTER_ALERT6 } from "./forge6.ts";

/** IANA's protocol numbers. */
const [EIGRP, OSPF] = [88, 89];
const [RIP, RIPNG, BABEL] = [520, 521, 6696];

const attack = (layer: "ipv4" | "ipv6", name: string, says: string, build: Build): Attack => ({
  name,
  layer,
  says,
  reason: "routing",
  build,
  control: layer === "ipv4" ? honestUdp : honestUdp6,
});

function toNeighbour(context: AttackContext, protocol: number, payload: Uint8Array): Uint8Array {
  const { self, neighbour } = context;
  const packet = ip4({ from: self.address, to: neighbour.address, protocol, id: idOf(context) }, payload);
  return ethernet(neighbourHop(context), self.mac, ETHER.ip, packet);
}

/** RFC 2453 section 4: a response with one route, to the victim's address by way of the sender. */
const ripResponse = ({ victim }: AttackContext): Uint8Array =>
  join([2, 2, 0, 0], u16(2), u16(0), ipv4ToBytes(victim.address), u32(0xffff_ffff), u32(0), u32(1));

/** RFC 2328 appendix A.3.2, RFC 5340 appendix A.3.2: version, a hello, its length. */
const hello = (version: 2 | 3, context: AttackContext): Uint8Array =>
  join([version, 1], u16(44), new Uint8Array(40), payloadOf(context));

function raw6(context: AttackContext, next: number, payload: Uint8Array): Uint8Array {
  const { toMac, ...ends } = endsOf(context, {});
  return frame6(context, toMac, { ...ends, next }, payload);
}

export const routingAttacks: readonly Attack[] = [
  attack("ipv4", "rip-response", "tells a router by RIP that another guest's address is here", (c) => [
    toNeighbour(c, PROTOCOL.udp, udp(RIP, RIP, join(ripResponse(c), payloadOf(c)))),
  ]),
  attack("ipv4", "ospf-hello", "greets a router by OSPF", (c) => [toNeighbour(c, OSPF, hello(2, c))]),
  attack("ipv4", "eigrp-hello", "greets a router by EIGRP", (c) => [toNeighbour(c, EIGRP, join([2, 5], payloadOf(c)))]),
  attack("ipv4", "babel-update", "tells a router of routes by Babel", (c) => [
    toNeighbour(c, PROTOCOL.udp, udp(BABEL, BABEL, join([42, 2, 0, 0], payloadOf(c)))),
  ]),
  attack("ipv6", "ripng-response", "tells a router of routes by RIPng", (c) => [udp6To(c, { ports: [RIPNG, RIPNG] })]),
  attack("ipv6", "ospf3-hello", "greets a router by OSPFv3", (c) => [raw6(c, OSPF, hello(3, c))]),
  attack("ipv6", "ospf3-behind-options", "greets a router by OSPFv3 behind hop-by-hop options", (c) => [
    raw6(c, NEXT.hopByHop, join(optionsHeader(OSPF, ROUTER_ALERT6), hello(3, c))),
  ]),
];
