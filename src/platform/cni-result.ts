/** Results as the version of the configuration has them, made new or out of what the plugin before left. */
import { parseIpv4 } from "../model/ipv4.ts";
import type { PortView } from "../model/operations.ts";
import type { Link4Length } from "../model/resources.ts";
import { LINK6_LENGTH, link4At } from "../model/transport.ts";
import { PORT_GATEWAY6 } from "../model/wiring.ts";
import type { Attachment, CniConfig, CniVersion } from "./cni-call.ts";
import { type Fields, fieldsOf, listOf, numberOf, textOf } from "./json.ts";
import type { LinkView } from "./links.ts";
import { lengthOf, type NetworkView } from "./site.ts";

/** One address of a NIC with its prefix length, as `ip` and CNI write it. */
export interface NicAddress {
  readonly family: "4" | "6";
  readonly address: string;
  readonly gateway: string | undefined;
}

export function addressesOfPort(
  port: Pick<PortView, "addresses4" | "addresses6">,
  network: NetworkView,
): readonly NicAddress[] {
  if (network.link4 !== undefined) return endsOfLink(port, network.link4);
  const four = port.addresses4.map(
    (address): NicAddress => ({
      family: "4",
      address: `${address}${lengthOf(network.prefix4) || "/32"}`,
      gateway: network.gateway4,
    }),
  );
  const six = port.addresses6.map(
    (address): NicAddress => ({
      family: "6",
      address: `${address}${lengthOf(network.prefix6) || "/128"}`,
      gateway: network.gateway6,
    }),
  );
  return [...four, ...six];
}

/** Each link is a subnet with a gateway of its own. */
function endsOfLink(
  { addresses4, addresses6 }: Pick<PortView, "addresses4" | "addresses6">,
  length: Link4Length,
): readonly NicAddress[] {
  const four = addresses4.flatMap((text): readonly NicAddress[] => {
    const address = parseIpv4(text);
    const gateway = address === undefined ? undefined : link4At(address, length).left;
    return gateway === undefined ? [] : [{ family: "4", address: `${text}/${length}`, gateway }];
  });
  const six = addresses6.map(
    (text): NicAddress => ({ family: "6", address: `${text}/${LINK6_LENGTH}`, gateway: PORT_GATEWAY6 }),
  );
  return [...four, ...six];
}

const defaultRoute = { "4": "0.0.0.0/0", "6": "::/0" } as const;

/** Of an interface of the sandbox, for `ip -batch`: addresses first, so that routes find their gateways. */
export function addressLines(ifname: string, addresses: readonly NicAddress[]): readonly string[] {
  const gateways = new Map(
    addresses.flatMap(({ family, gateway }) => (gateway === undefined ? [] : [[family, gateway]])),
  );
  return [
    // Duplicate detection asks whether an address is free; this one was given to nobody else, and the container waits.
    ...addresses.map(({ family, address }) => `address add ${address} dev ${ifname}${family === "6" ? " nodad" : ""}`),
    ...[...gateways].map(
      ([family, gateway]) => `route add ${defaultRoute[family]} via ${gateway} dev ${ifname} onlink`,
    ),
  ];
}

const hasMtu = (version: CniVersion): boolean => version === "1.1.0";
const hasFamily = (version: CniVersion): boolean => version.startsWith("0.");

interface Made {
  readonly hostEnd: LinkView;
  readonly guestEnd: LinkView;
  readonly netns: string;
  readonly addresses: readonly NicAddress[];
  readonly network: NetworkView;
}

function interfaceOf(version: CniVersion, link: LinkView, netns?: string): Fields {
  return {
    name: link.name,
    mac: link.mac,
    ...(hasMtu(version) ? { mtu: link.mtu } : {}),
    ...(netns === undefined ? {} : { sandbox: netns }),
  };
}

function layer3(version: CniVersion, made: Made, index: number): Fields {
  const ips = made.addresses.map(({ family, address, gateway }) => ({
    ...(hasFamily(version) ? { version: family } : {}),
    address,
    ...(gateway === undefined ? {} : { gateway }),
    interface: index,
  }));
  const gateways = new Map(made.addresses.map(({ family, gateway }) => [family, gateway]));
  const routes = [...gateways].flatMap(([family, gw]) => (gw === undefined ? [] : [{ dst: defaultRoute[family], gw }]));
  const { nameservers, domain, search } = made.network.dns;
  const dns = { nameservers, ...(domain === undefined ? {} : { domain }), ...(search.length === 0 ? {} : { search }) };
  return { ips, routes, dns: nameservers.length === 0 && domain === undefined ? {} : dns };
}

/** What the first plugin of a list answers. */
export function newResult(version: CniVersion, made: Made): Fields {
  const interfaces = [interfaceOf(version, made.hostEnd), interfaceOf(version, made.guestEnd, made.netns)];
  return { cniVersion: version, interfaces, ...layer3(version, made, 1) };
}

/** Where the container's interface stands in what the plugin before left; -1 when nowhere. */
export function interfaceIndex(prevResult: Fields, { ifname }: Attachment): number {
  return listOf(prevResult["interfaces"]).findIndex((value) => {
    const fields = fieldsOf(value);
    return fields["name"] === ifname && (textOf(fields["sandbox"]) ?? "") !== "";
  });
}

/** The addresses that the plugin before gave to that interface; an entry without an index is the container's. */
export function addressesAt(prevResult: Fields, index: number): readonly string[] {
  return listOf(prevResult["ips"])
    .map(fieldsOf)
    .flatMap((entry) => {
      const address = textOf(entry["address"]);
      return address !== undefined && (numberOf(entry["interface"]) ?? index) === index ? [address] : [];
    });
}

/** As it came, with the MAC that was forced and, where nobody had given any, with our addresses. */
export function chainedResult(config: CniConfig, prevResult: Fields, index: number, made: Made): Fields {
  const interfaces = listOf(prevResult["interfaces"]).map((value, i) =>
    i === index ? { ...fieldsOf(value), mac: made.guestEnd.mac } : value,
  );
  const given = addressesAt(prevResult, index).length > 0 ? {} : layer3(config.cniVersion, made, index);
  return { ...prevResult, cniVersion: config.cniVersion, interfaces, ...given };
}
