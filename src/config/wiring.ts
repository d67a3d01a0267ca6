/** The fields of a wiring, by its kind: what each needs, and what goes with another. */
import { z } from "zod";
import type { InterfaceName } from "../model/names.ts";
import type { RoutedGives, Wiring } from "../model/resources.ts";

export interface WrittenWiring {
  readonly kind: Wiring["kind"];
  readonly bridge?: InterfaceName;
  readonly uplink?: InterfaceName;
  readonly gives?: RoutedGives;
}

type Context = z.core.$RefinementCtx<unknown>;

function fault(context: Context, field: keyof WrittenWiring, message: string): undefined {
  // It may only be mistyped: then that is the one thing to say.
  const params = { missing: message.startsWith("is missing") };
  context.addIssue({ code: "custom", path: [field], message, params });
  return undefined;
}

function bridged({ bridge, uplink, gives }: WrittenWiring, context: Context): Wiring | undefined {
  if (gives !== undefined) return fault(context, "gives", "goes with routed; leave it out");
  if (bridge === undefined) return fault(context, "bridge", "is missing (interface name)");
  return { kind: "bridged", bridge, ...(uplink === undefined ? {} : { uplink }) };
}

function routed({ bridge, uplink, gives = "address" }: WrittenWiring, context: Context): Wiring | undefined {
  if (bridge !== undefined) return fault(context, "bridge", "goes with bridged; leave it out");
  if (uplink === undefined)
    return fault(context, "uplink", "is missing (interface name): there the host answers for its guests");
  return { kind: "routed", uplink, gives };
}

const kinds = { bridged, routed } as const satisfies Readonly<
  Record<Wiring["kind"], (written: WrittenWiring, context: Context) => Wiring | undefined>
>;

/** As the form of the fields is already known to be right. */
export function wiringOf(written: WrittenWiring, context: Context): Wiring {
  return kinds[written.kind](written, context) ?? z.NEVER;
}
