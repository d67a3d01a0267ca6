/** ICMP for IPv4 (RFC 792): type, code and four octets that each type uses its own way. The checksum is verified and written. */
import { checksum } from "./checksum.ts";
import type { Codec } from "./codec.ts";
import { createReader, type Reading, strict, unreadable } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface Icmp4Message {
  readonly type: number;
  readonly code: number;
  /** Octets 4 to 7: identifier and sequence of an echo, gateway of a redirect, pointer, next-hop MTU. */
  readonly rest: number;
  readonly payload: Uint8Array;
}

export const icmp4Types = { echoReply: 0, unreachable: 3, redirect: 5, echoRequest: 8, timeExceeded: 11 } as const;

export function readIcmp4(bytes: Uint8Array): Reading<Icmp4Message> {
  const reader = createReader(bytes);
  const [type, code] = [reader.u8(), reader.u8()];
  reader.u16();
  const rest = reader.u32();
  if (reader.truncated) return unreadable("truncated");
  return {
    value: { type, code, rest, payload: reader.rest() },
    fault: checksum(bytes) === 0 ? undefined : "bad-checksum",
  };
}

export const icmp4Codec: Codec<Icmp4Message> = {
  name: "icmp4",
  decode: (bytes) => strict(readIcmp4(bytes)),
  encode: ({ type, code, rest, payload }) => {
    const writer = createWriter().u8(type).u8(code).u16(0).u32(rest).bytes(payload);
    return writer.patch16(2, checksum(writer.done())).done();
  },
};

export interface Echo {
  readonly id: number;
  readonly sequence: number;
}

/** undefined when the message is no echo. */
export function echoOf({ type, rest }: Icmp4Message): Echo | undefined {
  if (type !== icmp4Types.echoRequest && type !== icmp4Types.echoReply) return undefined;
  return { id: rest >>> 16, sequence: rest & 0xffff };
}
