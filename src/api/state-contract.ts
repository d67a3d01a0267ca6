/** What travels of a whole state, and of its changes. */
import { z } from "zod";
import { watchKinds } from "../model/watch.ts";

export const stateLine = z.union([
  z.object({
    vifguard: z.literal("state"),
    format: z.number(),
    version: z.string(),
    host: z.string(),
    revision: z.number(),
    at: z.string(),
  }),
  z.object({ key: z.string(), value: z.unknown() }),
  z.object({ entries: z.number(), sha256: z.string().describe("of all lines before it") }),
]);
export const watchEvent = z.object({
  at: z.number().describe("milliseconds since 1970"),
  revision: z.number(),
  action: z.enum(["put", "delete", "missed"]).describe("missed: everything may be another by now"),
  kind: z.enum(watchKinds).optional(),
  name: z.string().optional(),
  text: z.string(),
  value: z.unknown().optional(),
});
export const watchQuery = z.strictObject({
  kinds: z
    .string()
    .transform((text) => text.split(","))
    .pipe(z.array(z.enum(watchKinds)))
    .optional()
    .describe(`some of ${watchKinds.join(", ")}, with commas between them`),
});
