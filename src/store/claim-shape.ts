/** Shape of the record that says who may answer for a NIC. */
import { parseHostId, parseInterfaceName } from "../model/names.ts";
import type { NicClaim, PortPlace } from "../model/resources.ts";
import { fields, list, optional, type Shape, shape, text, whole } from "./shape.ts";

const place = fields<PortPlace>({
  host: text("a name of a host", parseHostId),
  port: text("an interface name", parseInterfaceName),
});
const anyText: Shape<string> = shape("text", (value) => typeof value === "string");

export const nicClaim = fields<NicClaim>({
  fence: whole(1),
  holder: optional(place),
  next: optional(place),
  knows: optional(list(anyText)),
});
