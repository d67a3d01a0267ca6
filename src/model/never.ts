/** Exhaustive switches: a new kind of a union breaks the build wherever this is reached. */
export function unreachable(value: never): never {
  throw new TypeError(`unreachable: ${JSON.stringify(value)}`);
}
