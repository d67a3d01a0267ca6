/** IGMP versions 1 to 3 (RFC 1112, RFC 2236, RFC 3376 section 4). The checksum is verified and written. */
import { type Ipv4Address, ipv4FromBytes } from "../model/ipv4.ts";
import { checksum } from "./checksum.ts";
import type { Codec } from "./codec.ts";
import { createReader, type Reading, strict, unreadable } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface IgmpMessage {
  readonly type: number;
  /** Longest time to an answer in tenths of a second; reserved in reports. */
  readonly maxResponse: number;
  /** In a version 3 report: reserved, and the number of group records. */
  readonly group: Ipv4Address;
  /** Version 3: the rest of a query, or the group records of a report. */
  readonly more: Uint8Array;
}

export const igmpTypes = { query: 0x11, report1: 0x12, report2: 0x16, leave: 0x17, report3: 0x22 } as const;

export function readIgmp(bytes: Uint8Array): Reading<IgmpMessage> {
  const reader = createReader(bytes);
  const [type, maxResponse] = [reader.u8(), reader.u8()];
  reader.u16();
  const group = reader.ipv4();
  if (reader.truncated) return unreadable("truncated");
  return {
    value: { type, maxResponse, group, more: reader.rest() },
    fault: checksum(bytes) === 0 ? undefined : "bad-checksum",
  };
}

export const igmpCodec: Codec<IgmpMessage> = {
  name: "igmp",
  decode: (bytes) => strict(readIgmp(bytes)),
  encode: ({ type, maxResponse, group, more }) => {
    const writer = createWriter().u8(type).u8(maxResponse).u16(0).ipv4(group).bytes(more);
    return writer.patch16(2, checksum(writer.done())).done();
  },
};

/** The groups a message speaks of: one, or one for each whole record of a version 3 report. */
export function igmpGroups({ type, group, more }: IgmpMessage): readonly Ipv4Address[] {
  if (type !== igmpTypes.report3) return [group];
  const groups: Ipv4Address[] = [];
  for (let at = 0; at + 8 <= more.length; ) {
    groups.push(ipv4FromBytes(more, at + 4));
    const sources = (more[at + 2] ?? 0) * 256 + (more[at + 3] ?? 0);
    at += 8 + sources * 4 + (more[at + 1] ?? 0) * 4;
  }
  return groups;
}
