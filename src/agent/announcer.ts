/** Tells the LAN by the uplink, or by the bridge, whose addresses are here when a port opens that the host routes for, so that a guest that came from another host is found at once. */
import { announcements } from "../addressing/announcements.ts";
import type { Frames } from "../kernel/frames.ts";
import { routingOf } from "../plan/host.ts";
import type { PortState } from "./ports.ts";

export interface Announcer {
  /** Once for each change of the port, however often it is told. */
  refresh(state: PortState): void;
  forget(ifindex: number): void;
}

/** RFC 5227 section 1.1 (ANNOUNCE_NUM, ANNOUNCE_INTERVAL): twice, two seconds apart, because one may be lost. */
const AGAIN_MS = 2_000;

export function createAnnouncer(frames: Frames): Announcer {
  const told = new Map<number, string>();

  function announce(ifindex: number, text: string, bytes: readonly Uint8Array[], uplink: number): void {
    // Another host may have it by now.
    if (told.get(ifindex) === text) frames.send(bytes.map((frame) => ({ ifindex: uplink, bytes: frame })));
  }

  return {
    refresh: ({ attachment: { ifindex }, state, wish }) => {
      const routed = routingOf(wish);
      if (routed === undefined || state === "failed") {
        told.delete(ifindex);
        return;
      }
      const { uplink, announced, announcedAt: mac = uplink.mac } = routed;
      const text = `${uplink.ifindex} ${mac} ${announced.join(" ")}`;
      if (state !== "applied" || told.get(ifindex) === text) return;
      told.set(ifindex, text);
      const bytes = announcements(mac, announced);
      announce(ifindex, text, bytes, uplink.ifindex);
      setTimeout(() => announce(ifindex, text, bytes, uplink.ifindex), AGAIN_MS).unref();
    },
    forget: (ifindex) => void told.delete(ifindex),
  };
}
