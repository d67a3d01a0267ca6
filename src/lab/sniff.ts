/** What arrives at a box: tcpdump inside its namespace, bounded, read while it runs. */
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError } from "../model/errors.ts";
import { toHex } from "../packet/hex.ts";
import { pcapReader } from "../packet/pcap.ts";
import { patience } from "./patience.ts";
import type { Lab } from "./raise.ts";
import { type Box, HOST_BRIDGE } from "./topology.ts";

export interface Sniffer {
  readonly box: Box;
  /** Everything so far, in order of arrival. Its length now is a mark for `has` and `waitFor` later. */
  frames(): readonly Uint8Array[];
  /** Whether this very frame arrived since the mark. */
  has(frame: Uint8Array, since?: number): boolean;
  /** The first frame since the mark that fits, waiting up to `timeoutMs` for it. */
  waitFor(fits: (frame: Uint8Array) => boolean, timeoutMs: number, since?: number): Promise<Uint8Array | undefined>;
  stop(): Promise<readonly Uint8Array[]>;
}

const MAX_FRAMES = 20_000;
const START_MS = patience(5_000);
const POLL_MS = 5;

/** A bridge whose own device is promiscuous takes up every frame that crosses it: there, only what is for the host is listened to. */
const modestFlags = (device: string): readonly string[] => (device === HOST_BRIDGE ? ["-p"] : []);

/**
 * Returns when it is listening: nothing sent from then on is missed. Only what comes in, not what the box says itself.
 * @param count it ends by itself after so many frames
 */
export async function sniff(lab: Lab, box: Box, device = "eth0", count = MAX_FRAMES): Promise<Sniffer> {
  const flags = ["-n", "-U", "--immediate-mode", "-Q", "in", "-c", String(count), "-w", "-", ...modestFlags(device)];
  const tcpdump = await lab.startPiped(box, ["tcpdump", "-i", device, ...flags]);
  const frames: Uint8Array[] = [];
  const seen: string[] = [];
  const reader = pcapReader();
  let said = "";
  tcpdump.stderr.on("data", (part: Buffer) => {
    said += part.toString("utf8");
  });
  tcpdump.stdout.on("data", (part: Buffer) => {
    for (const frame of reader.push(new Uint8Array(part.buffer, part.byteOffset, part.length))) {
      frames.push(frame);
      seen.push(toHex(frame));
    }
  });
  const deadline = performance.now() + START_MS;
  while (!said.includes("listening on")) {
    if (performance.now() > deadline || (await Promise.race([tcpdump.ended, sleep(POLL_MS)])) !== undefined) {
      await tcpdump.stop("SIGKILL");
      throw new GuardError("COMMAND_FAILED", `tcpdump at ${box} ${device}: ${said.trim() || "did not start"}`);
    }
  }
  return {
    box,
    frames: () => frames,
    has: (frame, since = 0) => seen.includes(toHex(frame), since),
    async waitFor(fits, timeoutMs, since = 0) {
      const end = performance.now() + patience(timeoutMs);
      for (;;) {
        const found = frames.slice(since).find(fits);
        if (found !== undefined || performance.now() > end) return found;
        await sleep(POLL_MS);
      }
    },
    async stop() {
      await tcpdump.stop("SIGINT");
      return frames;
    },
  };
}
