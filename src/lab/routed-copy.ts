/** Frames before and after a router: what it changes, and what it never forwards. */

const ETHERNET = 14;
const typeOf = (frame: Uint8Array): number => ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
const IP4 = 0x0800;
const IP6 = 0x86dd;

/** Behind the Ethernet header, without hop limit and the sum over it; padding of short frames taken off. */
function lasting(frame: Uint8Array): string {
  const packet = frame.slice(ETHERNET);
  const view = new DataView(packet.buffer);
  if (typeOf(frame) === IP4 && packet.length >= 20) {
    packet[8] = 0;
    view.setUint16(10, 0);
    return packet.subarray(0, view.getUint16(2)).join();
  }
  if (typeOf(frame) === IP6 && packet.length >= 40) {
    packet[7] = 0;
    return packet.subarray(0, 40 + view.getUint16(4)).join();
  }
  return "";
}

/** Whether the second is the first, one router later. */
export function isRoutedCopy(sent: Uint8Array, seen: Uint8Array): boolean {
  return typeOf(sent) === typeOf(seen) && lasting(sent) !== "" && lasting(sent) === lasting(seen);
}

/** Of IP unicast between addresses of more than one link nothing is meant for the link alone. */
export function isForLink(frame: Uint8Array): boolean {
  const isLocal = (at: number): boolean => frame[at] === 0xfe || frame[at] === 0xff || frame[at] === 0;
  switch (typeOf(frame)) {
    case IP4:
      return (frame[ETHERNET + 16] ?? 0) >= 224 || frame[ETHERNET + 12] === 0;
    case IP6:
      return isLocal(ETHERNET + 8) || isLocal(ETHERNET + 24);
    default:
      return true;
  }
}

/** Solicitations and advertisements of IPv6 (RFC 4861), which say something of the link alone, whatever their addresses. */
export function isDiscovery(frame: Uint8Array): boolean {
  return typeOf(frame) === IP6 && frame[ETHERNET + 6] === 58 && [135, 136].includes(frame[ETHERNET + 40] ?? 0);
}

/** To more than one machine. */
export const isGroup = (frame: Uint8Array): boolean => ((frame[0] ?? 0) & 1) === 1;
