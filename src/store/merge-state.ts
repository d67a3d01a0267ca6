/**
 * What a store is to hold after a state was imported. Into an empty one: what the file says. In the place of another state: what the file says of networks, groups and
 * guests, and what the store says of where guests are, because ports are where they are now; numbers of claims only grow.
 */
import { kindOf } from "../model/keys.ts";
import type { NicClaim } from "../model/resources.ts";
import { nicClaim } from "./claim-shape.ts";
import type { Entry, Json, Key, Snapshot } from "./store.ts";

/** Where guests and hosts are: true of now, not of when the file was written. */
const PLACES = new Set(["attachment", "claim", "host"]);

const isClaim = (value: unknown): value is NicClaim => nicClaim.fault(value) === undefined;

/** A claim that the file has with the higher number: this store went back before, and a record with a number up to that one may be about. */
function raised(mine: Json | undefined, files: Json): Json | undefined {
  if (!isClaim(files)) return mine;
  if (!isClaim(mine)) return { fence: files.fence };
  return mine.fence >= files.fence ? mine : { ...Object(mine), fence: files.fence };
}

function places(file: ReadonlyMap<Key, Json>, held: ReadonlyMap<Key, Entry>): ReadonlyMap<Key, Json> {
  const kept = new Map<Key, Json>();
  for (const [key, { value }] of held) if (PLACES.has(kindOf(key))) kept.set(key, value);
  for (const [key, value] of file) {
    const claim = kindOf(key) === "claim" ? raised(kept.get(key), value) : undefined;
    if (claim !== undefined) kept.set(key, claim);
  }
  // A port opens under the number of its claim and no other.
  for (const [key, value] of kept) if (kindOf(key) === "attachment") kept.set(key, withFence(value, kept, held));
  return kept;
}

function withFence(value: Json, kept: ReadonlyMap<Key, Json>, held: ReadonlyMap<Key, Entry>): Json {
  const { guest, nic, fence, ...rest } = Object(value);
  const key = `claim/${guest}/${nic}`;
  const [before, now] = [held.get(key)?.value, kept.get(key)];
  if (!isClaim(before) || !isClaim(now) || before.fence === now.fence) return value;
  return { ...rest, guest, nic, fence: fence + now.fence - before.fence };
}

/** Of agents that are there already. */
const hosts = ({ entries }: Snapshot): readonly (readonly [Key, Json])[] =>
  [...entries].flatMap(([key, { value, lease }]) =>
    kindOf(key) === "host" && lease === undefined ? [[key, value] as const] : [],
  );

export function mergedState(
  file: ReadonlyMap<Key, Json>,
  held: Snapshot,
  keepsPlaces: boolean,
): ReadonlyMap<Key, Json> {
  if (!keepsPlaces) return new Map([...file, ...hosts(held)]);
  const own = [...file].filter(([key]) => !PLACES.has(kindOf(key)));
  return new Map([...own, ...places(file, held.entries)]);
}
