/** Fields of values that came as JSON. */

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/** As text; `undefined` when it is not there. */
export function stringField(value: unknown, ...path: readonly string[]): string | undefined {
  const found = path.reduce<unknown>((at, name) => (isRecord(at) ? at[name] : undefined), value);
  return found === undefined || isRecord(found) ? undefined : String(found);
}
