/** What a relay agent tells a DHCPv4 server and gets back untouched: option 82 and its sub-options (RFC 3046 section 2). */
import type { Codec } from "./codec.ts";
import { createReader } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface RelaySubOption {
  readonly code: number;
  /** 255 octets at most. */
  readonly body: Uint8Array;
}

export const relaySubOptions = {
  /** RFC 3046 section 3.1: where the question came in. */
  circuitId: 1,
  /** RFC 3046 section 3.2: at whose relay. */
  remoteId: 2,
  /** RFC 3527: an address of the link the client is on, where `giaddr` is of another one. */
  linkSelection: 5,
  /** RFC 5107: what the server is to call itself. */
  serverIdOverride: 11,
} as const;

/** In the order they stand. The option must end with its last sub-option. */
export const relayInfoCodec: Codec<readonly RelaySubOption[]> = {
  name: "relay agent information",
  decode: (bytes) => {
    const found: RelaySubOption[] = [];
    for (let at = 0; at < bytes.length; ) {
      const reader = createReader(bytes.subarray(at));
      const code = reader.u8();
      const body = reader.bytes(reader.u8());
      if (reader.truncated) return { ok: false, why: "truncated" };
      found.push({ code, body: body.slice() });
      at += 2 + body.length;
    }
    return { ok: true, value: found };
  },
  encode: (list) => {
    const writer = createWriter();
    for (const { code, body } of list) writer.u8(code).u8(body.length).bytes(body.subarray(0, 255));
    return writer.done();
  },
};
