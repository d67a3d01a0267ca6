/** Reads the classic capture format (tcpdump -w): whole files, or as it comes out of a pipe in pieces of any size. */

const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const MICRO = 0xa1b2c3d4;
const NANO = 0xa1b23c4d;
/** Longer than any frame here: the stream is not a capture. */
const MAX_FRAME = 262_144;

export interface PcapReader {
  /** The frames that are complete with this piece. @throws TypeError when it is not a capture */
  push(piece: Uint8Array): readonly Uint8Array[];
}

function isLittleEndian(header: DataView): boolean {
  for (const little of [true, false]) {
    const magic = header.getUint32(0, little);
    if (magic === MICRO || magic === NANO) return little;
  }
  throw new TypeError("not a pcap stream");
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** What links carry Ethernet frames (LINKTYPE_ETHERNET of the registry of link types). */
const ETHERNET = 1;
/** Magic of the newer format, pcapng: the same in both byte orders. */
const PCAPNG = 0x0a0d0d0a;

export type Capture =
  | { readonly ok: true; readonly frames: readonly Uint8Array[] }
  | { readonly ok: false; readonly why: string };

/** A whole capture file, which anybody may have written; what is no capture of Ethernet frames is refused with a reason. */
export function readCapture(bytes: Uint8Array): Capture {
  if (bytes.length < FILE_HEADER) return { ok: false, why: `${bytes.length} octets are no capture` };
  const header = viewOf(bytes);
  if (header.getUint32(0) === PCAPNG)
    return { ok: false, why: "it is pcapng: 'editcap -F pcap IN OUT' makes a pcap file of it" };
  try {
    const link = header.getUint32(20, isLittleEndian(header)) & 0xffff;
    if (link !== ETHERNET)
      return {
        ok: false,
        why: `its frames are not Ethernet (link type ${link}): capture on one interface, not on 'any'`,
      };
    return { ok: true, frames: framesIn(bytes) };
  } catch (error) {
    return { ok: false, why: error instanceof Error ? error.message : String(error) };
  }
}

/** The reader copies what it has not yet read at every frame: fed piece by piece, a long file costs no more than a pipe. */
const PIECE = 65_536;

function framesIn(bytes: Uint8Array): readonly Uint8Array[] {
  const reader = pcapReader();
  const frames: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += PIECE) frames.push(...reader.push(bytes.subarray(at, at + PIECE)));
  return frames;
}

export function pcapReader(): PcapReader {
  let pending = new Uint8Array(0);
  let little: boolean | undefined;

  function next(): Uint8Array | undefined {
    if (little === undefined) {
      if (pending.length < FILE_HEADER) return undefined;
      little = isLittleEndian(viewOf(pending));
      pending = pending.slice(FILE_HEADER);
    }
    if (pending.length < RECORD_HEADER) return undefined;
    const captured = viewOf(pending).getUint32(8, little);
    if (captured > MAX_FRAME) throw new TypeError(`frame of ${captured} bytes in a pcap stream`);
    if (pending.length < RECORD_HEADER + captured) return undefined;
    const frame = pending.slice(RECORD_HEADER, RECORD_HEADER + captured);
    pending = pending.slice(RECORD_HEADER + captured);
    return frame;
  }

  return {
    push(piece) {
      const joined = new Uint8Array(pending.length + piece.length);
      joined.set(pending);
      joined.set(piece, pending.length);
      pending = joined;
      const frames: Uint8Array[] = [];
      for (let frame = next(); frame !== undefined; frame = next()) frames.push(frame);
      return frames;
    },
  };
}
