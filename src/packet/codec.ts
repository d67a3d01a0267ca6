/** Bytes <-> values. Decoders are total: hostile bytes return a reason, they never throw. */
export type Rejection = "truncated" | "bad-length" | "bad-checksum" | "unsupported" | "trailing-bytes";

export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly why: Rejection };

export interface Codec<T> {
  readonly name: string;
  decode(bytes: Uint8Array): Decoded<T>;
  encode(value: T): Uint8Array;
}
