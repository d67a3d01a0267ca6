/** A frame that is sent on must bear a whole UDP checksum: its sender may have left it to a card that is not there (CHECKSUM_PARTIAL). */
import { fold, sum } from "./checksum.ts";

const ETHERNET = 14;

interface Place {
  readonly udp: number;
  /** Both addresses. */
  readonly addresses: readonly [number, number];
}

function placeOf(frame: Uint8Array): Place | undefined {
  const type = (frame[12] ?? 0) * 256 + (frame[13] ?? 0);
  if (type === 0x0800 && frame[ETHERNET] === 0x45 && frame[ETHERNET + 9] === 17)
    return { udp: ETHERNET + 20, addresses: [ETHERNET + 12, ETHERNET + 20] };
  if (type === 0x86dd && frame[ETHERNET + 6] === 17)
    return { udp: ETHERNET + 40, addresses: [ETHERNET + 8, ETHERNET + 40] };
  return undefined;
}

/** A copy with the sum made anew; as it is where there is no UDP right behind an IP header without options. */
export function withUdpSum(frame: Uint8Array): Uint8Array {
  const place = placeOf(frame);
  const whole = frame.slice();
  if (place === undefined || frame.length < place.udp + 8) return whole;
  const view = new DataView(whole.buffer);
  const length = view.getUint16(place.udp + 4);
  if (length < 8 || place.udp + length > frame.length) return whole;
  view.setUint16(place.udp + 6, 0);
  const total = sum(whole, ...place.addresses) + 17 + length + sum(whole, place.udp, place.udp + length);
  // Zero is "none" with IPv4 and forbidden with IPv6 (RFC 768, RFC 8200 section 8.1).
  view.setUint16(place.udp + 6, ~fold(total) & 0xffff || 0xffff);
  return whole;
}
