/** What changes in the store, as somebody who watches a site sees it. */

export const watchKinds = ["network", "group", "guest", "port", "claim", "lease", "host"] as const;
export type WatchKind = (typeof watchKinds)[number];

export interface WatchEvent {
  /** When this agent heard of it, in milliseconds since 1970. */
  readonly at: number;
  /** Of the store. */
  readonly revision: number;
  /** `missed`: more was changed than is remembered, and everything may be another by now. */
  readonly action: "put" | "delete" | "missed";
  readonly kind?: WatchKind;
  /** Such as `web1`, or `h7/vif1.0` of a port. */
  readonly name?: string;
  readonly text: string;
  /** As it stands in the store now. */
  readonly value?: unknown;
}
