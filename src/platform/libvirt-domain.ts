/** What of a domain's XML concerns its NICs. */
import { type MacAddress, parseMac } from "../model/mac.ts";
import { childOf, childrenOf, parseXml, type XmlElement } from "./xml.ts";

/** `virsh metadata DOMAIN urn:vifguard --key vifguard --set '<guest name="web1"/>' --config` */
export const METADATA = "urn:vifguard";

export interface DomainNic {
  readonly mac: MacAddress;
  /** bridge, ethernet, network, user, direct, hostdev … */
  readonly type: string;
  /** The host's end, once libvirt has made it or the operator has named it. */
  readonly port: string | undefined;
  readonly bridge: string | undefined;
  readonly network: string | undefined;
  /** What nwfilter was told the addresses are. */
  readonly addresses: readonly string[];
}

export interface Domain {
  readonly name: string;
  readonly driver: string;
  /** Named by the operator in the metadata. */
  readonly guest: string | undefined;
  readonly nics: readonly DomainNic[];
}

function guestIn(metadata: XmlElement | undefined): string | undefined {
  const found = metadata?.children.find(({ name, attributes }) => {
    const [local = "", prefix] = name.split(":").reverse();
    const declared = attributes.get(prefix === undefined ? "xmlns" : `xmlns:${prefix}`);
    return local === "guest" && declared === METADATA;
  });
  return found?.attributes.get("name");
}

function nicOf(element: XmlElement): readonly DomainNic[] {
  const mac = parseMac(childOf(element, "mac")?.attributes.get("address") ?? "");
  if (mac === undefined) return [];
  const source = childOf(element, "source")?.attributes;
  const addresses = childrenOf(childOf(element, "filterref"), "parameter").flatMap(({ attributes }) =>
    ["IP", "IPV6"].includes(attributes.get("name") ?? "") ? [attributes.get("value") ?? ""] : [],
  );
  const type = element.attributes.get("type") ?? "";
  const port = childOf(element, "target")?.attributes.get("dev");
  return [{ mac, type, port, bridge: source?.get("bridge"), network: source?.get("network"), addresses }];
}

/** Undefined when it is not a domain's XML. A live description (`virsh dumpxml`) and the one hooks are given are the same. */
export function parseDomain(text: string): Domain | undefined {
  const root = parseXml(text);
  const name = childOf(root, "name")?.text.trim();
  if (root?.name !== "domain" || name === undefined) return undefined;
  return {
    name,
    driver: root.attributes.get("type") ?? "",
    guest: guestIn(childOf(root, "metadata")),
    nics: childrenOf(childOf(root, "devices"), "interface").flatMap(nicOf),
  };
}
