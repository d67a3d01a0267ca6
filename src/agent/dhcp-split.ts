/** The guard's DHCP group has one listener, and two that want to hear: the responder, and what asks other servers for ports whose addresses are learned. */
import type { Frames, LoggedFrame } from "../kernel/frames.ts";

/** What `isOther` says is not for whoever subscribes here goes to `others`. */
export function splitFrames(
  frames: Frames,
  isOther: (frame: LoggedFrame) => boolean,
  others: (batch: readonly LoggedFrame[]) => void,
): Frames {
  return {
    ...frames,
    subscribe: (group, own, lost) =>
      frames.subscribe(
        group,
        (batch) => {
          const theirs = batch.filter(isOther);
          if (theirs.length > 0) others(theirs);
          const rest = theirs.length === 0 ? batch : batch.filter((frame) => !isOther(frame));
          if (rest.length > 0) own(rest);
        },
        lost,
      ),
  };
}
