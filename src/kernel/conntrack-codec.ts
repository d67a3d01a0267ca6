/** Conntrack messages: tuples to bytes and back (linux/netfilter/nfnetlink_conntrack.h). */
import { be16 } from "../model/bytes.ts";
import { isIpv6 } from "../model/ip-block.ts";
import { type Ipv4Address, ipv4FromBytes, ipv4ToBytes } from "../model/ipv4.ts";
import { type Ipv6Address, ipv6FromBytes, ipv6ToBytes } from "../model/ipv6.ts";
import type { Flow } from "./conntrack.ts";
import { attributeOf, type Message, type MessageWriter, NLM_F, readBe32 } from "./netlink-message.ts";

const SUBSYSTEM = 1 << 8;
const IPCTNL_MSG = { GET: 1, DELETE: 2 } as const;
const AF = { UNSPEC: 0, INET: 2, INET6: 10 } as const;
const CTA = { TUPLE_ORIG: 1, TUPLE_REPLY: 2, ID: 12, ZONE: 18 } as const;
const CTA_TUPLE = { IP: 1, PROTO: 2 } as const;
const CTA_IP = { V4_SRC: 1, V4_DST: 2, V6_SRC: 3, V6_DST: 4 } as const;
const CTA_PROTO = { NUM: 1, SRC_PORT: 2, DST_PORT: 3 } as const;
/** Attribute numbers of identifier, type and code. */
const ECHO: ReadonlyMap<number, { readonly id: number; readonly type: number; readonly code: number }> = new Map([
  [1, { id: 4, type: 5, code: 6 }],
  [58, { id: 7, type: 8, code: 9 }],
]);

/** nfgenmsg. */
const header = (family: number): Uint8Array => Uint8Array.of(family, 0, 0, 0);
const readBe16 = (bytes: Uint8Array | undefined): number => ((bytes?.[0] ?? 0) << 8) | (bytes?.[1] ?? 0);

/** A dump of both families. Linux 6.8 and later tell only the zone that is asked for, older ones all of them. */
export function writeDump(writer: MessageWriter, sequence: number, zone: number): void {
  writer.begin(SUBSYSTEM | IPCTNL_MSG.GET, NLM_F.REQUEST | NLM_F.DUMP, sequence, header(AF.UNSPEC));
  writer.attribute(CTA.ZONE, be16(zone)).finish();
}

function writeEnds(writer: MessageWriter, { protocol, fromPort, toPort }: Flow): void {
  writer.u8(CTA_PROTO.NUM, protocol);
  const echo = ECHO.get(protocol);
  if (echo === undefined) {
    writer.attribute(CTA_PROTO.SRC_PORT, be16(fromPort)).attribute(CTA_PROTO.DST_PORT, be16(toPort));
    return;
  }
  writer.attribute(echo.id, be16(fromPort)).u8(echo.type, toPort >> 8);
  writer.u8(echo.code, toPort & 255);
}

/** Always with the tuple: without one it would be the removal of every flow there is. */
export function writeRemoval(writer: MessageWriter, flags: number, sequence: number, flow: Flow): void {
  const { from, to } = flow;
  writer.begin(
    SUBSYSTEM | IPCTNL_MSG.DELETE,
    NLM_F.REQUEST | flags,
    sequence,
    header(isIpv6(from) ? AF.INET6 : AF.INET),
  );
  writer.nest(CTA.TUPLE_ORIG, () => {
    writer.nest(CTA_TUPLE.IP, () => {
      const [source, destination] = isIpv6(from) ? [CTA_IP.V6_SRC, CTA_IP.V6_DST] : [CTA_IP.V4_SRC, CTA_IP.V4_DST];
      writer.attribute(source, bytesOf(from)).attribute(destination, bytesOf(to));
    });
    writer.nest(CTA_TUPLE.PROTO, () => writeEnds(writer, flow));
  });
  writer.attribute(CTA.ZONE, be16(flow.zone)).be32(CTA.ID, flow.id).finish();
}

const bytesOf = (address: Ipv4Address | Ipv6Address): Uint8Array =>
  isIpv6(address) ? ipv6ToBytes(address) : ipv4ToBytes(address);

function endsOf(bytes: Uint8Array | undefined): Pick<Flow, "protocol" | "fromPort" | "toPort"> {
  const protocol = attributeOf(bytes, CTA_PROTO.NUM)?.[0] ?? 0;
  const echo = ECHO.get(protocol);
  if (echo === undefined)
    return {
      protocol,
      fromPort: readBe16(attributeOf(bytes, CTA_PROTO.SRC_PORT)),
      toPort: readBe16(attributeOf(bytes, CTA_PROTO.DST_PORT)),
    };
  const [type, code] = [attributeOf(bytes, echo.type)?.[0] ?? 0, attributeOf(bytes, echo.code)?.[0] ?? 0];
  return { protocol, fromPort: readBe16(attributeOf(bytes, echo.id)), toPort: (type << 8) | code };
}

function addressesOf(bytes: Uint8Array | undefined): Pick<Flow, "from" | "to"> | undefined {
  const [from4, to4] = [attributeOf(bytes, CTA_IP.V4_SRC), attributeOf(bytes, CTA_IP.V4_DST)];
  if (from4 !== undefined && to4 !== undefined) return { from: ipv4FromBytes(from4), to: ipv4FromBytes(to4) };
  const [from6, to6] = [attributeOf(bytes, CTA_IP.V6_SRC), attributeOf(bytes, CTA_IP.V6_DST)];
  return from6 === undefined || to6 === undefined ? undefined : { from: ipv6FromBytes(from6), to: ipv6FromBytes(to6) };
}

function replyOf(fields: Uint8Array): Pick<Flow, "reply"> {
  const tuple = attributeOf(fields, CTA.TUPLE_REPLY);
  const addresses = addressesOf(attributeOf(tuple, CTA_TUPLE.IP));
  if (addresses === undefined) return {};
  const { fromPort, toPort } = endsOf(attributeOf(tuple, CTA_TUPLE.PROTO));
  return { reply: { ...addresses, fromPort, toPort } };
}

/** Undefined for flows of other zones; those that are in a zone with one direction only have no CTA_ZONE, and are none of ours. */
export function readFlow(message: Message, zone: number): Flow | undefined {
  const fields = message.body.subarray(4);
  if (readBe16(attributeOf(fields, CTA.ZONE)) !== zone) return undefined;
  const tuple = attributeOf(fields, CTA.TUPLE_ORIG);
  const addresses = addressesOf(attributeOf(tuple, CTA_TUPLE.IP));
  const id = readBe32(attributeOf(fields, CTA.ID));
  if (addresses === undefined || id === undefined) return undefined;
  return { zone, ...addresses, ...endsOf(attributeOf(tuple, CTA_TUPLE.PROTO)), id, ...replyOf(fields) };
}
