/** Reads the classic capture format (tcpdump -w) as it comes out of a pipe, in pieces of any size. */

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
