/**
 * What tests draw at random is the same in every run, so that a red run is about the change. VIFGUARD_SEED=random draws anew (`npm run search`),
 * VIFGUARD_SEED=NUMBER repeats.
 */
import { env } from "node:process";
import fc from "fast-check";

const DEFAULT_SEED = 1_185_307;

function chosen(text: string | undefined): number {
  if (text === undefined) return DEFAULT_SEED;
  if (text === "random") return Date.now() % 1_000_000_007;
  const seed = Number(text);
  if (Number.isInteger(seed)) return seed;
  throw new TypeError(`VIFGUARD_SEED is a whole number or 'random', not '${text}'`);
}

export const SEED = chosen(env["VIFGUARD_SEED"]);
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: SEED });
