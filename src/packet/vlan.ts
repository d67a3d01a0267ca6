/** A VLAN tag behind its tag protocol identifier (IEEE 802.1Q section 9.6): control information and the next type. */
import type { Codec } from "./codec.ts";
import { createReader, type Reading, strict, unreadable } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface VlanTag {
  /** Priority code point. */
  readonly priority: number;
  readonly dropEligible: boolean;
  /** 0 is no VLAN: the tag carries a priority only. */
  readonly id: number;
  readonly type: number;
  readonly payload: Uint8Array;
}

export function readVlan(bytes: Uint8Array): Reading<VlanTag> {
  const reader = createReader(bytes);
  const [control, type] = [reader.u16(), reader.u16()];
  if (reader.truncated) return unreadable("truncated");
  const [priority, dropEligible, id] = [control >> 13, (control & 0x1000) !== 0, control & 0x0fff];
  return { value: { priority, dropEligible, id, type, payload: reader.rest() }, fault: undefined };
}

export const vlanCodec: Codec<VlanTag> = {
  name: "vlan",
  decode: (bytes) => strict(readVlan(bytes)),
  encode: ({ priority, dropEligible, id, type, payload }) =>
    createWriter()
      .u16(((priority & 7) << 13) | (dropEligible ? 0x1000 : 0) | (id & 0x0fff))
      .u16(type)
      .bytes(payload)
      .done(),
};
