/** One ping that goes on, and the longest time in which no answer came. */
import type { Lab } from "../../src/lab/raise.ts";

export interface Ping {
  /** When each answer came, in milliseconds. */
  stop(): Promise<readonly number[]>;
}

const EVERY_SECONDS = "0.001";
const MOST_SECONDS = "60";

/** Returns at the first answer. @throws Error when none comes */
export async function startPing(lab: Lab, box: string, address: string): Promise<Ping> {
  const process = await lab.startPiped(box, ["ping", "-n", "-D", "-i", EVERY_SECONDS, "-w", MOST_SECONDS, address]);
  let text = "";
  const first = new Promise<void>((resolve) => {
    process.stdout.setEncoding("utf8").on("data", (part: string) => {
      text += part;
      if (text.includes("bytes from")) resolve();
    });
  });
  const ended = process.ended.then(() => true);
  if ((await Promise.race([first, ended])) === true) throw new Error(`${box} has no answer of ${address}: ${text}`);
  return {
    stop: async () => {
      await process.stop("SIGINT");
      return [...text.matchAll(/^\[(\d+\.\d+)\] \d+ bytes from/gm)].map(([, seconds]) => Number(seconds) * 1000);
    },
  };
}

export function longestGap(times: readonly number[]): number {
  return times.slice(1).reduce((most, time, i) => Math.max(most, time - (times[i] ?? time)), 0);
}
