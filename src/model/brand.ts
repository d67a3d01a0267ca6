/** Nominal typing: a value that was checked once and needs no second check. */
declare const brand: unique symbol;
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
