/** Shape of the shares of a port in the store. */
import type { RateSettings, Share } from "../model/rates.ts";
import { fields, optional, type Shape, whole } from "./shape.ts";

const share = optional(fields<Share>({ perSecond: whole(1), burst: whole(1) }));
export const rates: Shape<RateSettings> = fields<RateSettings>({
  arp: share,
  nd: share,
  dhcp: share,
  multicast: share,
  syn: share,
  packets: share,
  bytes: share,
  toGuestPackets: share,
  toGuestBytes: share,
});
