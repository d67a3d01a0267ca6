/** 48-bit link-layer addresses, always in canonical lower-case colon form. */
import type { Brand } from "./brand.ts";

export type MacAddress = Brand<string, "MacAddress">;

const HEX = Array.from({ length: 256 }, (_, n) => n.toString(16).padStart(2, "0"));
const FORMS = /^(?:[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2})$/i;

/** Colon, dash and dotted forms, any case; undefined for anything else. */
export function parseMac(text: string): MacAddress | undefined {
  if (!FORMS.test(text)) return undefined;
  const digits = text.replace(/[^0-9a-f]/gi, "").toLowerCase();
  return digits.replace(/(..)(?!$)/g, "$1:") as MacAddress;
}

/** Six bytes at `offset`, to text. */
export function macFromBytes(bytes: Uint8Array, offset = 0): MacAddress {
  let text = "";
  for (let i = 0; i < 6; i += 1) text += (i === 0 ? "" : ":") + HEX[bytes[offset + i] ?? 0];
  return text as MacAddress;
}

export function macToBytes(mac: MacAddress): Uint8Array {
  return Uint8Array.from({ length: 6 }, (_, i) => Number.parseInt(mac.slice(i * 3, i * 3 + 2), 16));
}

/** The group bit (IEEE 802.3, least significant bit of the first octet): broadcast and multicast. */
export function isGroupMac(mac: MacAddress): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
}

export const BROADCAST_MAC: MacAddress = macFromBytes(Uint8Array.of(255, 255, 255, 255, 255, 255));
