/** Netlink messages: written one after the other into one growing buffer, read by cursors (linux/netlink.h). */
import { type ErrorCode, GuardError } from "../model/errors.ts";

export const NLM_F = {
  REQUEST: 0x1,
  ACK: 0x4,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
} as const;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLM_F_DUMP_INTR = 0x10;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;
const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;

/** The errnos an operator may meet here, by number (asm-generic/errno*.h). */
const errnoNames: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  3: "ESRCH",
  4: "EINTR",
  7: "E2BIG",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  16: "EBUSY",
  17: "EEXIST",
  19: "ENODEV",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  28: "ENOSPC",
  34: "ERANGE",
  54: "EXFULL",
  90: "EMSGSIZE",
  93: "EPROTONOSUPPORT",
  95: "EOPNOTSUPP",
  97: "EAFNOSUPPORT",
  100: "ENETDOWN",
  105: "ENOBUFS",
};
export const errnoName = (errno: number): string => errnoNames[errno] ?? `errno ${errno}`;
export const ERRNO = { ENOENT: 2, EAGAIN: 11, ENODEV: 19, ENOBUFS: 105 } as const;

/** Builds one or many messages one after the other. Numbers go in the host's order unless the name says otherwise. */
export class MessageWriter {
  private bytes = new Uint8Array(4096);
  private view = new DataView(this.bytes.buffer);
  private end = 0;
  private message = 0;

  get length(): number {
    return this.end;
  }
  /** Valid until the next write. */
  get buffer(): Uint8Array {
    return this.bytes;
  }
  reset(): this {
    this.end = 0;
    return this;
  }

  private room(count: number): void {
    if (this.end + count <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.end + count));
    larger.set(this.bytes.subarray(0, this.end));
    this.bytes = larger;
    this.view = new DataView(larger.buffer);
  }

  /** @param fixed the family's own header (nfgenmsg, ifinfomsg, ...) */
  begin(type: number, flags: number, sequence: number, fixed: Uint8Array): this {
    this.room(16 + fixed.length + 4);
    this.message = this.end;
    this.view.setUint32(this.end, 0, true);
    this.view.setUint16(this.end + 4, type, true);
    this.view.setUint16(this.end + 6, flags, true);
    this.view.setUint32(this.end + 8, sequence, true);
    this.view.setUint32(this.end + 12, 0, true);
    this.bytes.set(fixed, this.end + 16);
    this.end += 16 + fixed.length;
    this.pad();
    return this;
  }

  finish(): this {
    this.view.setUint32(this.message, this.end - this.message, true);
    return this;
  }

  private pad(): void {
    while (this.end % 4 !== 0) {
      this.bytes[this.end] = 0;
      this.end += 1;
    }
  }

  attribute(type: number, value: Uint8Array): this {
    this.room(8 + value.length);
    this.view.setUint16(this.end, 4 + value.length, true);
    this.view.setUint16(this.end + 2, type, true);
    this.bytes.set(value, this.end + 4);
    this.end += 4 + value.length;
    this.pad();
    return this;
  }

  u8(type: number, value: number): this {
    return this.attribute(type, Uint8Array.of(value));
  }
  u32(type: number, value: number): this {
    return this.number(type, value, true);
  }
  be32(type: number, value: number): this {
    return this.number(type, value, false);
  }
  be64(type: number, value: bigint): this {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, false);
    return this.attribute(type, bytes);
  }
  private number(type: number, value: number, little: boolean): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value >>> 0, little);
    return this.attribute(type, bytes);
  }
  /** Closed by a zero, as the kernel wants names. */
  string(type: number, value: string): this {
    return this.attribute(type, Uint8Array.from([...value].map((c) => c.charCodeAt(0)).concat(0)));
  }
  nest(type: number, inside: () => void): this {
    this.room(4);
    const start = this.end;
    this.view.setUint16(start + 2, type | NESTED, true);
    this.end += 4;
    inside();
    this.view.setUint16(start, this.end - start, true);
    return this;
  }
}

export interface Attribute {
  readonly type: number;
  readonly value: Uint8Array;
}

/** The attributes in `bytes`; what does not fit ends the walk. */
export function* attributes(bytes: Uint8Array): Iterable<Attribute> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > bytes.length) return;
    yield { type: view.getUint16(at + 2, true) & TYPE_MASK, value: bytes.subarray(at + 4, at + length) };
    at += (length + 3) & ~3;
  }
}

/** By type; the last of a type counts. */
export function attributeMap(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const map = new Map<number, Uint8Array>();
  for (const { type, value } of attributes(bytes)) map.set(type, value);
  return map;
}

/** The first attribute of this type: without a map of all, which is what costs when there are 100 000 messages. */
export function attributeOf(bytes: Uint8Array | undefined, type: number): Uint8Array | undefined {
  if (bytes === undefined) return undefined;
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
    if (length < 4 || at + length > bytes.length) return undefined;
    if ((((bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8)) & TYPE_MASK) === type)
      return bytes.subarray(at + 4, at + length);
    at += (length + 3) & ~3;
  }
  return undefined;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
export const readU32 = (bytes: Uint8Array | undefined): number | undefined =>
  bytes !== undefined && bytes.length >= 4 ? viewOf(bytes).getUint32(0, true) : undefined;
export const readBe32 = (bytes: Uint8Array | undefined): number | undefined =>
  bytes !== undefined && bytes.length >= 4 ? viewOf(bytes).getUint32(0, false) : undefined;
export const readBe64 = (bytes: Uint8Array | undefined): bigint =>
  bytes !== undefined && bytes.length >= 8 ? viewOf(bytes).getBigUint64(0, false) : 0n;
export function readString(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return "";
  const end = bytes.indexOf(0);
  return String.fromCharCode(...bytes.subarray(0, end === -1 ? bytes.length : end));
}

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly portId: number;
  /** Behind the 16 octets of nlmsghdr. */
  readonly body: Uint8Array;
}

export function* messages(bytes: Uint8Array): Iterable<Message> {
  const view = viewOf(bytes);
  for (let at = 0; at + 16 <= bytes.length; ) {
    const length = view.getUint32(at, true);
    if (length < 16 || at + length > bytes.length) return;
    yield {
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      portId: view.getUint32(at + 12, true),
      body: bytes.subarray(at + 16, at + length),
    };
    at += (length + 3) & ~3;
  }
}

/** What the kernel said no to: a positive errno, its own words if it had any, and the sequence number of the message at fault. */
export interface Refusal {
  readonly errno: number;
  readonly words: string;
  readonly sequence: number;
}

/** As operators are told. @param what was tried, such as `reading interfaces` */
export function refusalError(what: string, { errno, words }: Refusal, code: ErrorCode = "KERNEL_REFUSED"): GuardError {
  const text = `${what}: ${errnoName(errno)}${words === "" ? "" : ` (${words})`}`;
  return new GuardError(code, text, { fields: { errno } });
}

/** What an NLMSG_ERROR says; undefined for a plain acknowledgement. */
export function refusalOf(message: Message): Refusal | undefined {
  const errno = -viewOf(message.body).getInt32(0, true);
  if (errno === 0) return undefined;
  // NETLINK_CAP_ACK leaves only the header of the request behind the errno: 4 + 16 octets.
  const words =
    (message.flags & NLM_F_ACK_TLVS) === 0
      ? ""
      : readString(attributeMap(message.body.subarray(20)).get(NLMSGERR_ATTR_MSG));
  return { errno, words, sequence: message.sequence };
}
