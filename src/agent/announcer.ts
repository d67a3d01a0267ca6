/** Tells the LAN by the uplink, or by the bridge, whose addresses are here when a port opens, so that a guest that came from another host is found at once. */
import { announcements } from "../addressing/announcements.ts";
import type { Frames } from "../kernel/frames.ts";
import { announcedOf } from "../plan/announcement.ts";
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
      const announced = wish === undefined ? undefined : announcedOf(wish);
      if (announced === undefined || state === "failed") {
        told.delete(ifindex);
        return;
      }
      const { by, mac, addresses } = announced;
      const text = `${by} ${mac} ${addresses.join(" ")}`;
      if (state !== "applied" || told.get(ifindex) === text) return;
      told.set(ifindex, text);
      const bytes = announcements(mac, addresses);
      announce(ifindex, text, bytes, by);
      setTimeout(() => announce(ifindex, text, bytes, by), AGAIN_MS).unref();
    },
    forget: (ifindex) => void told.delete(ifindex),
  };
}
