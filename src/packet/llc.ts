/** Logical link control in 802.3 frames (ISO/IEC 8802-2 section 5) and its extension SNAP (RFC 1042). */
import type { Codec } from "./codec.ts";
import { createReader, type Reading, strict, unreadable } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface LlcPacket {
  readonly dsap: number;
  readonly ssap: number;
  /** Unnumbered formats end in the bits 11 and have one octet; all others have two. */
  readonly control: number;
  /** Second control octet of information and supervisory formats; 0 in unnumbered ones. */
  readonly sequence: number;
  readonly payload: Uint8Array;
}

export interface SnapPacket {
  /** 0 means that `protocol` is an EtherType. */
  readonly oui: number;
  readonly protocol: number;
  readonly payload: Uint8Array;
}

/** Both service access points of SNAP, and of spanning tree (IEEE 802.1D section 9.2). */
export const accessPoints = { snap: 0xaa, spanningTree: 0x42 } as const;

function isUnnumbered(control: number): boolean {
  return (control & 3) === 3;
}

export function readLlc(bytes: Uint8Array): Reading<LlcPacket> {
  const reader = createReader(bytes);
  const [dsap, ssap, control] = [reader.u8(), reader.u8(), reader.u8()];
  const sequence = isUnnumbered(control) ? 0 : reader.u8();
  if (reader.truncated) return unreadable("truncated");
  return { value: { dsap, ssap, control, sequence, payload: reader.rest() }, fault: undefined };
}

export const llcCodec: Codec<LlcPacket> = {
  name: "llc",
  decode: (bytes) => strict(readLlc(bytes)),
  encode: ({ dsap, ssap, control, sequence, payload }) => {
    const writer = createWriter().u8(dsap).u8(ssap).u8(control);
    if (!isUnnumbered(control)) writer.u8(sequence);
    return writer.bytes(payload).done();
  },
};

export function readSnap(bytes: Uint8Array): Reading<SnapPacket> {
  const reader = createReader(bytes);
  const [oui, protocol] = [reader.u8() * 0x1_0000 + reader.u16(), reader.u16()];
  if (reader.truncated) return unreadable("truncated");
  return { value: { oui, protocol, payload: reader.rest() }, fault: undefined };
}

export const snapCodec: Codec<SnapPacket> = {
  name: "snap",
  decode: (bytes) => strict(readSnap(bytes)),
  encode: ({ oui, protocol, payload }) =>
    createWriter()
      .u8(oui >>> 16)
      .u16(oui & 0xffff)
      .u16(protocol)
      .bytes(payload)
      .done(),
};
