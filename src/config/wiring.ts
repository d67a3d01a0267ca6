/** The fields of a wiring, by its kind: what each needs, and what goes with another. */
import { z } from "zod";
import type { InterfaceName } from "../model/names.ts";
import type { Link4Length, Masquerade, RoutedGives, Wiring } from "../model/resources.ts";

export interface WrittenWiring {
  readonly kind: Wiring["kind"];
  readonly bridge?: InterfaceName;
  readonly uplink?: InterfaceName;
  readonly gives?: RoutedGives;
  readonly masquerade?: Masquerade;
  readonly link4?: Link4Length;
}

type Context = z.core.$RefinementCtx<unknown>;

function fault(context: Context, field: keyof WrittenWiring, message: string): undefined {
  // It may only be mistyped: then that is the one thing to say.
  const params = { missing: message.startsWith("is missing") };
  context.addIssue({ code: "custom", path: [field], message, params });
  return undefined;
}

/** What another kind of wiring has. */
function foreign(
  { bridge, gives, link4, masquerade }: WrittenWiring,
  own: readonly (keyof WrittenWiring)[],
  context: Context,
): boolean {
  const found = (
    [
      ["bridge", bridge, "bridged"],
      ["gives", gives, "routed and nat"],
      ["link4", link4, "transport"],
      ["masquerade", masquerade, "nat"],
    ] as const
  ).find(([field, value]) => value !== undefined && !own.includes(field));
  if (found === undefined) return false;
  fault(context, found[0], `goes with ${found[2]}; leave it out`);
  return true;
}

function bridged(written: WrittenWiring, context: Context): Wiring | undefined {
  const { bridge, uplink } = written;
  if (foreign(written, ["bridge"], context)) return undefined;
  if (bridge === undefined) return fault(context, "bridge", "is missing (interface name)");
  return { kind: "bridged", bridge, ...(uplink === undefined ? {} : { uplink }) };
}

function routed(written: WrittenWiring, context: Context): Wiring | undefined {
  const { uplink, gives = "address" } = written;
  if (foreign(written, ["gives"], context)) return undefined;
  if (uplink === undefined)
    return fault(context, "uplink", "is missing (interface name): there the host answers for its guests");
  return { kind: "routed", uplink, gives };
}

function brouted(written: WrittenWiring, context: Context): Wiring | undefined {
  const { bridge, uplink } = written;
  if (foreign(written, ["bridge"], context)) return undefined;
  if (uplink !== undefined) return fault(context, "uplink", "is the bridge itself; leave it out");
  return bridge === undefined ? fault(context, "bridge", "is missing (interface name)") : { kind: "brouted", bridge };
}

function transport(written: WrittenWiring, context: Context): Wiring | undefined {
  const { uplink, link4 = 31 } = written;
  if (foreign(written, ["link4"], context)) return undefined;
  if (uplink === undefined)
    return fault(context, "uplink", "is missing (interface name): by it the host routes for its guests");
  return { kind: "transport", uplink, link4 };
}

function nat(written: WrittenWiring, context: Context): Wiring | undefined {
  const { uplink, gives = "address", masquerade = false } = written;
  if (foreign(written, ["gives", "masquerade"], context)) return undefined;
  if (uplink === undefined)
    return fault(context, "uplink", "is missing (interface name): there the host answers for public addresses");
  return { kind: "nat", uplink, gives, masquerade };
}

const kinds = { bridged, routed, brouted, transport, nat } as const satisfies Readonly<
  Record<Wiring["kind"], (written: WrittenWiring, context: Context) => Wiring | undefined>
>;

/** As the form of the fields is already known to be right. */
export function wiringOf(written: WrittenWiring, context: Context): Wiring {
  return kinds[written.kind](written, context) ?? z.NEVER;
}
