/** What the kinds of addressing have in common. */
import type { Addressing, LearnedAddressing, MacScheme } from "./resources.ts";

/** Whether a guest has no address until its own DHCP exchange brings one. */
export const isLearned = (addressing: Addressing): addressing is LearnedAddressing =>
  addressing.kind === "relay" || addressing.kind === "snoop";

/** An address that is not known yet can decide no MAC. */
export const macSchemeOf = (addressing: Addressing): MacScheme =>
  isLearned(addressing) ? "random" : addressing.macScheme;
