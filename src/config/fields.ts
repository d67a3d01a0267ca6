/** Fields of site documents that are text with a form of its own. */
import { z } from "zod";
import type { TextForm } from "./text.ts";

/** What the reference page calls a type that zod cannot name. */
export const typeNames: z.core.$ZodRegistry<{ type: string }> = z.registry<{ type: string }>();

export function parsed<T>(form: TextForm<T>, text: string) {
  const schema = z.string().transform((value, context): T => read(form, value, context));
  return schema.register(typeNames, { type: form.type }).describe(text);
}

/** Numbers are taken as their text: `80` and `"80"` are the same port. */
export function parsedNumber<T>(form: TextForm<T>, text: string) {
  const schema = z.union([z.string(), z.number()]).transform((value, context): T => read(form, String(value), context));
  return schema.register(typeNames, { type: form.type }).describe(text);
}

function read<T>(form: TextForm<T>, value: string, context: z.core.$RefinementCtx<unknown>): T {
  const result = form.parse(value);
  if (result !== undefined) return result;
  context.addIssue({ code: "custom", message: form.explain(value) });
  return z.NEVER;
}
