/**
 * How much slower than a usual machine this one is: VIFGUARD_SLOW multiplies every wait and time limit of the lab and its tests.
 * An emulated CPU takes ten times as long for the same; what a test proves must not depend on it.
 */
import { env } from "node:process";

function factorOf(text: string | undefined): number {
  const factor = Number(text ?? 1);
  if (!Number.isFinite(factor) || factor < 1) throw new TypeError(`VIFGUARD_SLOW: a number from 1 on, not '${text}'`);
  return factor;
}

const factor = factorOf(env["VIFGUARD_SLOW"]);

/** So many milliseconds of a usual machine. */
export const patience = (milliseconds: number): number => milliseconds * factor;
