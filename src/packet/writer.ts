/** A byte builder that grows: formats are written from top to bottom, lengths and checksums patched in at the end. */
import { type Ipv4Address, ipv4ToBytes } from "../model/ipv4.ts";
import { type MacAddress, macToBytes } from "../model/mac.ts";

/** Numbers are written big-endian, modulo their size. Every step answers the writer itself. */
export interface Writer {
  readonly length: number;
  u8(value: number): Writer;
  u16(value: number): Writer;
  u32(value: number): Writer;
  bytes(part: Uint8Array): Writer;
  mac(address: MacAddress): Writer;
  ipv4(address: Ipv4Address): Writer;
  /** Writes over two bytes that are there already. */
  patch16(at: number, value: number): Writer;
  /** A copy of what was written so far. */
  done(): Uint8Array;
}

/** Holds every header chain we write; only payloads make it grow. */
const FIRST_SIZE = 128;

export function createWriter(): Writer {
  let buffer = new Uint8Array(FIRST_SIZE);
  let length = 0;
  const reserve = (count: number): number => {
    const start = length;
    length += count;
    if (length > buffer.length) {
      const larger = new Uint8Array(Math.max(length, buffer.length * 2));
      larger.set(buffer);
      buffer = larger;
    }
    return start;
  };
  const put = (value: number, at: number, size: number): Writer => {
    for (let i = 0; i < size; i += 1) buffer[at + i] = (value >>> (8 * (size - 1 - i))) & 255;
    return writer;
  };
  const append = (part: Uint8Array): Writer => {
    const at = reserve(part.length);
    buffer.set(part, at);
    return writer;
  };
  const writer: Writer = {
    get length() {
      return length;
    },
    u8: (value) => put(value, reserve(1), 1),
    u16: (value) => put(value, reserve(2), 2),
    u32: (value) => put(value, reserve(4), 4),
    bytes: append,
    mac: (address) => append(macToBytes(address)),
    ipv4: (address) => append(ipv4ToBytes(address)),
    patch16: (at, value) => put(value, at, 2),
    done: () => buffer.slice(0, length),
  };
  return writer;
}
