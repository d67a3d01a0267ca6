/** The fields of a wiring, by its kind: what each needs, and what goes with another. */
import { z } from "zod";
import type { InterfaceName } from "../model/names.ts";
import type { Link4Length, RoutedGives, Wiring } from "../model/resources.ts";

export interface WrittenWiring {
  readonly kind: Wiring["kind"];
  readonly bridge?: InterfaceName;
  readonly uplink?: InterfaceName;
  readonly gives?: RoutedGives;
  readonly link4?: Link4Length;
}

type Context = z.core.$RefinementCtx<unknown>;

function fault(context: Context, field: keyof WrittenWiring, message: string): undefined {
  // It may only be mistyped: then that is the one thing to say.
  const params = { missing: message.startsWith("is missing") };
  context.addIssue({ code: "custom", path: [field], message, params });
  return undefined;
}

function bridged({ bridge, uplink, gives, link4 }: WrittenWiring, context: Context): Wiring | undefined {
  if (link4 !== undefined) return fault(context, "link4", "goes with transport; leave it out");
  if (gives !== undefined) return fault(context, "gives", "goes with routed; leave it out");
  if (bridge === undefined) return fault(context, "bridge", "is missing (interface name)");
  return { kind: "bridged", bridge, ...(uplink === undefined ? {} : { uplink }) };
}

function routed({ bridge, uplink, gives = "address", link4 }: WrittenWiring, context: Context): Wiring | undefined {
  if (link4 !== undefined) return fault(context, "link4", "goes with transport; leave it out");
  if (bridge !== undefined) return fault(context, "bridge", "goes with bridged; leave it out");
  if (uplink === undefined)
    return fault(context, "uplink", "is missing (interface name): there the host answers for its guests");
  return { kind: "routed", uplink, gives };
}

function brouted({ bridge, uplink, gives, link4 }: WrittenWiring, context: Context): Wiring | undefined {
  if (link4 !== undefined) return fault(context, "link4", "goes with transport; leave it out");
  if (gives !== undefined) return fault(context, "gives", "goes with routed; leave it out");
  if (uplink !== undefined) return fault(context, "uplink", "is the bridge itself; leave it out");
  return bridge === undefined ? fault(context, "bridge", "is missing (interface name)") : { kind: "brouted", bridge };
}

function transport({ bridge, uplink, gives, link4 = 31 }: WrittenWiring, context: Context): Wiring | undefined {
  if (bridge !== undefined) return fault(context, "bridge", "goes with bridged; leave it out");
  if (gives !== undefined) return fault(context, "gives", "goes with routed; leave it out");
  if (uplink === undefined)
    return fault(context, "uplink", "is missing (interface name): by it the host routes for its guests");
  return { kind: "transport", uplink, link4 };
}

const kinds = { bridged, routed, brouted, transport } as const satisfies Readonly<
  Record<Wiring["kind"], (written: WrittenWiring, context: Context) => Wiring | undefined>
>;

/** As the form of the fields is already known to be right. */
export function wiringOf(written: WrittenWiring, context: Context): Wiring {
  return kinds[written.kind](written, context) ?? z.NEVER;
}
