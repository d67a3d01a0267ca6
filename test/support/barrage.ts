/** Frames said again and again from a box while a test does something else, and whether any of them got anywhere. */
import { writeFile } from "node:fs/promises";
import { execPath } from "node:process";
import { builtFile } from "../../src/lab/built.ts";
import type { Lab } from "../../src/lab/raise.ts";
import { type Sniffer, sniff } from "../../src/lab/sniff.ts";
import { type Box, HOST_BRIDGE } from "../../src/lab/topology.ts";
import { toHex } from "../../src/packet/hex.ts";
import { eventually } from "./guarded-lab.ts";

export interface Barrage {
  /** How many the kernel has taken so far. */
  sent(): number;
  /** Waits until so many more were taken. @throws Error when they are not */
  more(frames: number): Promise<void>;
  stop(): Promise<void>;
}

export async function startBarrage(
  lab: Lab,
  box: Box,
  frames: readonly Uint8Array[],
  perSecond: number,
): Promise<Barrage> {
  const file = `${lab.directory}/${box}.barrage`;
  await writeFile(file, frames.map((frame) => `${toHex(frame)}\n`).join(""));
  const process = await lab.startPiped(box, [execPath, builtFile("lab/barrage.js"), "eth0", file, String(perSecond)]);
  let taken = 0;
  process.stdout.setEncoding("utf8").on("data", (part: string) => {
    taken = Number(part.trim().split("\n").at(-1));
  });
  const more = async (count: number): Promise<void> => {
    const goal = taken + count;
    if (!(await eventually(async () => taken >= goal, 20_000)))
      throw new Error(`${box} got rid of ${taken} frames, not of ${goal}`);
  };
  return {
    sent: () => taken,
    more,
    stop: async () => {
      await process.stop("SIGKILL");
    },
  };
}

export interface Watch {
  /** Frames of the list that arrived somewhere since the watch began, by where. */
  leaks(frames: readonly Uint8Array[]): readonly string[];
  /** Boxes where the frame has arrived, by name, in order. */
  arrivedAt(frame: Uint8Array): readonly Box[];
  stop(): Promise<void>;
}

/** Many times what a siege lets through to anybody, on a slow machine too: a watch that ends early would see no leak. */
const MOST_FRAMES = 500_000;

export async function watchBoxes(lab: Lab, boxes: readonly Box[]): Promise<Watch> {
  const sniffers: readonly Sniffer[] = await Promise.all(
    boxes.map((box) => sniff(lab, box, box === "host" ? HOST_BRIDGE : "eth0", MOST_FRAMES)),
  );
  return {
    leaks: (frames) => {
      const lies = new Set(frames.map(toHex));
      return sniffers.flatMap(({ box, frames: arrived }) =>
        arrived()
          .map(toHex)
          .filter((frame) => lies.has(frame))
          .map((frame) => `${box}: ${frame}`),
      );
    },
    arrivedAt: (frame) =>
      sniffers
        .filter((sniffer) => sniffer.has(frame))
        .map(({ box }) => box)
        .sort(),
    stop: async () => {
      await Promise.all(sniffers.map((sniffer) => sniffer.stop()));
    },
  };
}
