/** Parts of a store that are read and watched. */
import type { Key, Place } from "./store.ts";

export const holds = (place: Place, key: Key): boolean =>
  typeof place === "string" ? key.startsWith(place) : key === place.key;

/** No key ends in a star. */
export const placeText = (place: Place): string => (typeof place === "string" ? `${place}*` : place.key);

export const parsePlace = (text: string): Place => (text.endsWith("*") ? text.slice(0, -1) : { key: text });
