/** The fields of an addressing, by its kind: what each takes, and what goes with another. */
import { z } from "zod";
import type { Addressing } from "../model/resources.ts";
import { type Context, learnedOf, type WrittenAddressing, withoutServers } from "./learned.ts";

const LEASE_SECONDS = 3600;

function fault(context: Context, field: keyof WrittenAddressing, message: string): undefined {
  context.addIssue({ code: "custom", path: [field], message });
  return undefined;
}

/** What only a responder could tell. */
const told = ["leaseSeconds", "conflictDetection", "ntp6", "boot", "options", "options6", "classes"] as const;

function toldNobody(written: WrittenAddressing, context: Context): boolean {
  const misplaced = told.filter((field) => written[field] !== undefined);
  for (const field of misplaced) fault(context, field, "goes with managed; leave it out");
  if (written.routes.length > 0) fault(context, "routes", "go with managed: nobody tells them to guests here");
  return misplaced.length === 0 && written.routes.length === 0;
}

/** As the form of the fields is already known to be right. */
export function addressingOf(written: WrittenAddressing, context: Context): Addressing {
  if (written.kind === "relay" || written.kind === "snoop") return learnedOf(written, context) ?? z.NEVER;
  const own = withoutServers(written, context);
  if (own === undefined) return z.NEVER;
  const { kind, leaseSeconds = LEASE_SECONDS, macScheme, ...rest } = own;
  if (kind === "managed") return { kind, leaseSeconds, macScheme: macScheme ?? "random", ...rest };
  if (!toldNobody(written, context)) return z.NEVER;
  if (kind === "static") return { kind, macScheme: macScheme ?? "random", ...rest };
  if (macScheme !== undefined && macScheme !== "net")
    return fault(context, "macScheme", "is net where guests read their MACs; leave it out") ?? z.NEVER;
  return { kind: "mac", macScheme: "net", ...rest };
}
