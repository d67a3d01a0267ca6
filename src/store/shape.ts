/** Shapes of stored values: what a value must look like, said where it does not. */

/** Checks a value and says what is wrong with it, such as `.nics[0].mac is not a MAC address`. */
export interface Shape<T> {
  readonly fault: (value: unknown) => string | undefined;
  /** Never there: keeps shapes of different types apart. */
  readonly of?: T;
  readonly isOptional?: false;
}
export interface OptionalShape<T> extends Omit<Shape<T>, "isOptional"> {
  readonly isOptional: true;
}
export type FieldShapes<T> = {
  readonly [K in keyof T]-?: Record<never, never> extends Pick<T, K> ? OptionalShape<T[K]> : Shape<T[K]>;
};

export const shape = <T>(says: string, is: (value: unknown) => boolean): Shape<T> => ({
  fault: (value) => (is(value) ? undefined : ` is not ${says}`),
});
/** Branded text in the one form its parser gives. */
export const text = <T extends string>(says: string, parse: (text: string) => T | undefined): Shape<T> =>
  shape(says, (value) => typeof value === "string" && parse(value) === value);
export const oneOf = <T extends string>(...words: readonly T[]): Shape<T> =>
  shape(words.join(" or "), (value) => words.some((word) => word === value));
export const whole = (least: number, most = Number.MAX_SAFE_INTEGER): Shape<number> =>
  shape(
    "a number it can be",
    (value) => Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most,
  );
export const optional = <T>({ fault }: Shape<T>): OptionalShape<T> => ({
  fault: (value) => (value === undefined ? undefined : fault(value)),
  isOptional: true,
});

export const isFields = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function firstFault<T>(items: readonly T[], fault: (item: T, n: number) => string | undefined): string | undefined {
  for (const [n, item] of items.entries()) {
    const found = fault(item, n);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Fields it does not know are left alone. */
export function fields<T>(shapes: FieldShapes<T>): Shape<T> {
  const table = Object.entries<Shape<unknown> | OptionalShape<unknown>>(shapes);
  return {
    fault: (value) => {
      if (!isFields(value)) return " is not an object";
      return firstFault(table, ([name, { fault }]) => {
        const found = fault(value[name]);
        return found === undefined ? undefined : `.${name}${found}`;
      });
    },
  };
}

export function list<T>({ fault }: Shape<T>): Shape<readonly T[]> {
  return {
    fault: (value) => {
      if (!Array.isArray(value)) return " is not a list";
      return firstFault<unknown>(value, (item, n) => {
        const found = fault(item);
        return found === undefined ? undefined : `[${n}]${found}`;
      });
    },
  };
}

export function variants<T extends { readonly kind: string }>(
  byKind: { readonly [K in T["kind"]]: Shape<Extract<T, { readonly kind: K }>> },
): Shape<T> {
  const table = new Map(Object.entries<Shape<unknown>>(byKind));
  return {
    fault: (value) => {
      const kind = isFields(value) ? value["kind"] : undefined;
      const known = typeof kind === "string" ? table.get(kind) : undefined;
      return known === undefined ? `.kind is not ${[...table.keys()].join(" or ")}` : known.fault(value);
    },
  };
}

export const either = <T>(says: string, ...shapes: readonly Shape<T>[]): Shape<T> =>
  shape(says, (value) => shapes.some(({ fault }) => fault(value) === undefined));
