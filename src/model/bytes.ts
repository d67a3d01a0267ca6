/** Octets as keys, addresses and frames have them. */

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Equal for equal octets, and of one length it sorts as they do. For maps and comparisons, not for people. */
export const bytesText = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

/** In network order. */
export const be16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 255);
