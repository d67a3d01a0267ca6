/** What came of one frame with a DHCP message in it, of either family. */
import type { Rejection } from "../packet/codec.ts";
import type { LeaseChange } from "./responder.ts";

export type FrameAnswer =
  /** `change` must be durable before `frame` is sent. `counter` is what it counts as without one. */
  | {
      readonly kind: "reply";
      readonly frame: Uint8Array;
      readonly counter: "offers" | "acks" | "naks";
      readonly change?: LeaseChange;
    }
  | { readonly kind: "note"; readonly change: LeaseChange }
  | { readonly kind: "silence"; readonly why: string }
  | { readonly kind: "malformed"; readonly why: Rejection };
