/** Frames in memory: a test logs them and reads what was sent. */
import type { Frames, LoggedFrame, OutgoingFrame } from "./frames.ts";

export interface MemoryFrames extends Frames {
  log(group: number, frames: readonly LoggedFrame[]): void;
  readonly sent: readonly OutgoingFrame[];
}

export function memoryFrames(): MemoryFrames {
  const listeners = new Map<number, Set<(batch: readonly LoggedFrame[]) => void>>();
  const sent: OutgoingFrame[] = [];
  return {
    sent,
    log: (group, frames) => {
      for (const listener of listeners.get(group) ?? []) listener(frames);
    },
    subscribe: (group, frames) => {
      const hearers = listeners.get(group) ?? new Set();
      listeners.set(group, hearers.add(frames));
      return {
        close: () => {
          hearers.delete(frames);
        },
      };
    },
    send: (frames) => {
      sent.push(...frames);
      return frames.length;
    },
    close: () => listeners.clear(),
  };
}
