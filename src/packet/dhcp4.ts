/** DHCPv4 on the wire (RFC 2131 section 2): BOOTP header, magic cookie and options, joined and split per RFC 3396. */
import { ipv4FromBytes, ipv4ToNumber } from "../model/ipv4.ts";
import { macFromBytes, macToBytes } from "../model/mac.ts";
import type { Codec, Decoded, Rejection } from "./codec.ts";
import type { Dhcp4Message } from "./dhcp4-message.ts";
import { dhcp4Options } from "./dhcp4-options.ts";

const SNAME = { at: 44, size: 64 } as const;
const FILE = { at: 108, size: 128 } as const;
const COOKIE_AT = 236;
const COOKIE = 0x63_82_53_63;
const OPTIONS_AT = 240;
/** BOOTP-era clients and relays drop what is shorter (RFC 1542 section 2.1). */
const SMALLEST = 300;
const PAD = 0;
const END = 255;
const BROADCAST_FLAG = 0x80_00;

type Pieces = Map<number, Uint8Array[]>;

function rejected(why: Rejection): Decoded<never> {
  return { ok: false, why };
}

/** Trailing bytes behind the end option are padding, whatever they are; a missing end option is forgiven. */
export const dhcp4Codec: Codec<Dhcp4Message> = {
  name: "dhcp4",
  decode: (bytes) => {
    if (bytes.length < OPTIONS_AT) return rejected("truncated");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const op = view.getUint8(0);
    if (view.getUint32(COOKIE_AT) !== COOKIE || view.getUint16(1) !== 0x01_06) return rejected("unsupported");
    if (op !== 1 && op !== 2) return rejected("unsupported");
    const gathered = gatherAll(bytes);
    if (!gathered.ok) return gathered;
    const { pieces, overload } = gathered.value;
    return {
      ok: true,
      value: {
        op: op === 1 ? "request" : "reply",
        hops: view.getUint8(3),
        xid: view.getUint32(4),
        secs: view.getUint16(8),
        broadcast: (view.getUint16(10) & BROADCAST_FLAG) !== 0,
        ciaddr: ipv4FromBytes(bytes, 12),
        yiaddr: ipv4FromBytes(bytes, 16),
        siaddr: ipv4FromBytes(bytes, 20),
        giaddr: ipv4FromBytes(bytes, 24),
        chaddr: macFromBytes(bytes, 28),
        sname: (overload & 2) === 0 ? readText(bytes, SNAME) : "",
        file: (overload & 1) === 0 ? readText(bytes, FILE) : "",
        options: joined(pieces),
      },
    };
  },
  encode: (message) => encodeDhcp4(message),
};

/**
 * @param room octets that the message may have: options that do not fit go into the fields `file` and `sname` where these are empty (option 52,
 * RFC 2132 section 9.3). What does not fit there either is written all the same: see `fitsDhcp4`.
 */
export function encodeDhcp4(message: Dhcp4Message, room = Number.POSITIVE_INFINITY): Uint8Array {
  const spread = layOut(message, room) ?? layOut(message, Number.POSITIVE_INFINITY) ?? NOTHING;
  const bytes = new Uint8Array(Math.max(SMALLEST, mainSize(spread)));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, (message.op === "request" ? 0x01_01_06_00 : 0x02_01_06_00) + (message.hops & 255));
  view.setUint32(4, message.xid);
  view.setUint16(8, message.secs);
  view.setUint16(10, message.broadcast ? BROADCAST_FLAG : 0);
  view.setUint32(12, ipv4ToNumber(message.ciaddr));
  view.setUint32(16, ipv4ToNumber(message.yiaddr));
  view.setUint32(20, ipv4ToNumber(message.siaddr));
  view.setUint32(24, ipv4ToNumber(message.giaddr));
  bytes.set(macToBytes(message.chaddr), 28);
  writeText(bytes, SNAME, message.sname);
  writeText(bytes, FILE, message.file);
  view.setUint32(COOKIE_AT, COOKIE);
  writeSpread(bytes, spread);
  return bytes;
}

type OptionEntry = readonly [number: number, value: Uint8Array];

/** Which options stand where. */
interface Spread {
  readonly main: readonly OptionEntry[];
  readonly file: readonly OptionEntry[];
  readonly sname: readonly OptionEntry[];
}

const NOTHING: Spread = { main: [], file: [], sname: [] };
/** Option 52 itself, where anything is spread. */
const OVERLOAD_SIZE = 3;

const overloadOf = ({ file, sname }: Spread): number => (file.length > 0 ? 1 : 0) + (sname.length > 0 ? 2 : 0);

const optionSize = (value: Uint8Array): number => value.length + 2 * fragments(value);

/** Each option whole in one place, in its order; undefined when there is no room. */
function layOut({ options, file, sname }: Dhcp4Message, room: number): Spread | undefined {
  const entries = [...options].filter(([number]) => isWritten(number));
  if (dhcp4Size(options) <= room) return { ...NOTHING, main: entries };
  const spread = { main: [] as OptionEntry[], file: [] as OptionEntry[], sname: [] as OptionEntry[] };
  const left = {
    main: room - OPTIONS_AT - 1 - OVERLOAD_SIZE,
    file: file === "" ? FILE.size - 1 : 0,
    sname: sname === "" ? SNAME.size - 1 : 0,
  };
  for (const entry of entries) {
    const size = optionSize(entry[1]);
    const place = (["main", "file", "sname"] as const).find((name) => left[name] >= size);
    if (place === undefined) return undefined;
    left[place] -= size;
    spread[place].push(entry);
  }
  return spread;
}

/** Whether a message can be written in so many octets, by whatever means. */
export const fitsDhcp4 = (message: Dhcp4Message, room: number): boolean => layOut(message, room) !== undefined;

function mainSize(spread: Spread): number {
  const own = spread.main.reduce((sum, [, value]) => sum + optionSize(value), 0);
  return OPTIONS_AT + 1 + own + (overloadOf(spread) === 0 ? 0 : OVERLOAD_SIZE);
}

function writeSpread(bytes: Uint8Array, spread: Spread): void {
  const overload = overloadOf(spread);
  let at = writeAll(bytes, OPTIONS_AT, spread.main);
  if (overload !== 0) at = writeOption(bytes, at, dhcp4Options.overload.number, Uint8Array.of(overload));
  bytes[at] = END;
  if (spread.file.length > 0) bytes[writeAll(bytes, FILE.at, spread.file)] = END;
  if (spread.sname.length > 0) bytes[writeAll(bytes, SNAME.at, spread.sname)] = END;
}

/** Octets of a message with these options before padding, so that a maximum size (option 57) can be kept. */
export function dhcp4Size(options: ReadonlyMap<number, Uint8Array>): number {
  let size = OPTIONS_AT + 1;
  for (const [number, value] of options) if (isWritten(number)) size += optionSize(value);
  return size;
}

function isWritten(number: number): boolean {
  return number !== PAD && number !== END && number !== dhcp4Options.overload.number;
}

function fragments(value: Uint8Array): number {
  return Math.max(1, Math.ceil(value.length / 255));
}

/** RFC 3396 section 5: options field, then `file`, then `sname`. Overload counts in the options field only (RFC 2132 section 9.3). */
function gatherAll(bytes: Uint8Array): Decoded<{ readonly pieces: Pieces; readonly overload: number }> {
  const pieces: Pieces = new Map();
  if (!gather(bytes.subarray(OPTIONS_AT), pieces)) return rejected("truncated");
  const said = pieces.get(dhcp4Options.overload.number);
  if (said === undefined) return { ok: true, value: { pieces, overload: 0 } };
  if (said.length !== 1 || said[0]?.length !== 1) return rejected("bad-length");
  const overload = said[0][0] ?? 0;
  if (overload < 1 || overload > 3) return rejected("unsupported");
  if ((overload & 1) !== 0 && !gather(field(bytes, FILE), pieces)) return rejected("truncated");
  if ((overload & 2) !== 0 && !gather(field(bytes, SNAME), pieces)) return rejected("truncated");
  return { ok: true, value: { pieces, overload } };
}

/** @returns false when an option reaches over the end of its field */
function gather(bytes: Uint8Array, pieces: Pieces): boolean {
  for (let at = 0; at < bytes.length; ) {
    const number = bytes[at] ?? END;
    if (number === END) return true;
    if (number === PAD) {
      at += 1;
      continue;
    }
    const length = bytes[at + 1];
    if (length === undefined || at + 2 + length > bytes.length) return false;
    const piece = bytes.subarray(at + 2, at + 2 + length);
    const known = pieces.get(number);
    if (known === undefined) pieces.set(number, [piece]);
    else known.push(piece);
    at += 2 + length;
  }
  return true;
}

function joined(pieces: Pieces): ReadonlyMap<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (const [number, parts] of pieces) if (isWritten(number)) options.set(number, concat(parts));
  return options;
}

/** Always a copy: the message outlives the buffer it was read from. */
function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** @returns where the end option goes */
function writeAll(bytes: Uint8Array, start: number, entries: readonly OptionEntry[]): number {
  return entries.reduce((at, [number, value]) => writeOption(bytes, at, number, value), start);
}

/** Octet by octet: most values are so short that a view of them costs more than copying them (2 µs of a reply). */
function writeOption(bytes: Uint8Array, start: number, number: number, value: Uint8Array): number {
  let at = start;
  let from = 0;
  do {
    const length = Math.min(255, value.length - from);
    bytes[at] = number;
    bytes[at + 1] = length;
    for (let i = 0; i < length; i += 1) bytes[at + 2 + i] = value[from + i] ?? 0;
    at += 2 + length;
    from += length;
  } while (from < value.length);
  return at;
}

type Field = typeof SNAME | typeof FILE;

function field(bytes: Uint8Array, { at, size }: Field): Uint8Array {
  return bytes.subarray(at, at + size);
}

/** One character per octet up to the first zero: lossless, and never longer than the field. */
function readText(bytes: Uint8Array, place: Field): string {
  let value = "";
  for (const byte of field(bytes, place)) {
    if (byte === 0) break;
    value += String.fromCharCode(byte);
  }
  return value;
}

function writeText(bytes: Uint8Array, { at, size }: Field, value: string): void {
  for (let i = 0; i < Math.min(size, value.length); i += 1) bytes[at + i] = value.charCodeAt(i);
}
