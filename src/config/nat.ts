/** The words of address translation in a site file: what leaves by which address, and which public addresses lead to a NIC. */
import { z } from "zod";
import { type Ipv4Address, prefix4Contains } from "../model/ipv4.ts";
import type { GuestSpec, NetworkSpec, NicSpec, PublicService } from "../model/resources.ts";
import { portRangeText } from "../model/services.ts";
import type { FieldPath } from "./faults.ts";
import { parsed, parsedNumber, typeNames } from "./fields.ts";
import type { FieldFault } from "./issues.ts";
import { portRange } from "./policy-text.ts";
import { address4 } from "./text.ts";

/** Ports of one NIC in all: each is an element in the kernel. */
const MOST_PORTS = 4096;

export const masquerade = z
  .union([z.boolean(), parsed(address4, "Public address.")])
  .register(typeNames, { type: "true | false | IPv4 address" })
  .describe(
    "What guests of a nat network that have no `public4` leave by. `false` (when left out): they reach nothing outside. `true`: the uplink's own address. An address: that one, which the host then answers for; only for networks whose guests are all on one host.",
  );

const service = z.strictObject({
  public4: parsed(address4, "The public address; NICs on the same host may share one."),
  protocol: z.enum(["tcp", "udp"]).describe("`tcp` or `udp`."),
  ports: z
    .array(parsedNumber(portRange, "Port or range."))
    .min(1)
    .max(64)
    .describe("Ports of the public address that lead to the NIC."),
  to: z
    .int()
    .min(1)
    .max(65_535)
    .exactOptional()
    .describe("The guest's port, of a range the first. The same port without it."),
});

export const publicFields = {
  public4: parsed(
    address4,
    "Of a nat network: the public address that is this NIC's alone. All that is sent there reaches the guest, and the guest is seen by it outside.",
  ).exactOptional(),
  services: z
    .array(service)
    .min(1)
    .max(64)
    .exactOptional()
    .describe("Of a nat network: single services of this NIC under public addresses."),
};

/** Why it cannot be a public address; the special ones of RFC 6890 are no machine's. */
function notPublic(address: Ipv4Address, network: NetworkSpec | undefined): string | undefined {
  if (/^(?:0|127|22[4-9]|23\d|24\d|25[0-5])\./.test(address)) return `${address} is no machine's own address`;
  if (network !== undefined && prefix4Contains(network.prefix4, address))
    return `${address} is inside the network's own prefix4 ${network.prefix4}, and a public address is outside`;
  return undefined;
}

export function* natFaults(spec: NetworkSpec): Iterable<FieldFault> {
  const { wiring, addressing } = spec;
  if (wiring.kind !== "nat") return;
  if (addressing.kind === "relay" || addressing.kind === "snoop")
    yield {
      field: ["spec", "addressing", "kind"],
      says: `${addressing.kind} learns addresses from another server, and those of a nat network are the site's own`,
    };
  if (typeof wiring.masquerade === "boolean") return;
  const says = notPublic(wiring.masquerade, spec);
  if (says !== undefined) yield { field: ["spec", "wiring", "masquerade"], says };
}

function* serviceFaults({ ports, to }: PublicService, field: FieldPath): Iterable<FieldFault> {
  const [first] = ports;
  if (to === undefined || first === undefined) return;
  if (ports.length > 1)
    yield { field: [...field, "to"], says: "goes with one port or one range: write a service for each" };
  else if (to + first.last - first.first > 65_535)
    yield { field: [...field, "to"], says: `${portRangeText(first)} from ${to} on ends above port 65535` };
}

/** What a NIC says twice, or says with no sense, whatever network it is on. */
export function* publicFaults({ nics }: GuestSpec): Iterable<FieldFault> {
  for (const [n, { public4, services = [] }] of nics.entries()) {
    const field = ["spec", "nics", n, "services"];
    const seen = new Set<string>();
    for (const [i, service] of services.entries()) {
      yield* serviceFaults(service, [...field, i]);
      if (service.public4 === public4)
        yield { field: [...field, i, "public4"], says: `all of ${public4} is this NIC's already ('public4')` };
      const twice = service.ports.find((range) => !isNew(seen, service, range.first, range.last));
      if (twice !== undefined)
        yield { field: [...field, i, "ports"], says: `${portRangeText(twice)} of ${service.public4} is written twice` };
    }
    if (seen.size > MOST_PORTS) yield { field, says: `more than ${MOST_PORTS} ports are too many for one NIC` };
  }
}

/** Remembers the ports. */
function isNew(seen: Set<string>, { public4, protocol }: PublicService, first: number, last: number): boolean {
  const before = seen.size;
  for (let port = first; port <= last && seen.size <= MOST_PORTS + 1; port += 1)
    seen.add(`${public4}/${protocol}/${port}`);
  return seen.size === before + last - first + 1 || seen.size > MOST_PORTS;
}

/** What a NIC may say on its network. */
export function* natNicFaults(nic: NicSpec, network: NetworkSpec, field: FieldPath): Iterable<FieldFault> {
  const { public4, services = [], addresses } = nic;
  const named: readonly (readonly [FieldPath, Ipv4Address])[] = [
    ...(public4 === undefined ? [] : [[[...field, "public4"], public4] as const]),
    ...services.map((service, i) => [[...field, "services", i, "public4"], service.public4] as const),
  ];
  if (network.wiring.kind !== "nat") {
    const [first] = named;
    if (first !== undefined)
      yield {
        field: first[0],
        says: `goes with a network of wiring nat, and '${nic.network}' is ${network.wiring.kind}`,
      };
    return;
  }
  for (const [at, address] of named) {
    const says = notPublic(address, network);
    if (says !== undefined) yield { field: at, says };
  }
  for (const [i, block] of addresses.entries()) {
    if (block.kind === "prefix4" || (block.kind === "address4" && !prefix4Contains(network.prefix4, block.address)))
      yield {
        field: [...field, "addresses", i],
        says: `on a nat network a guest has single IPv4 addresses inside ${network.prefix4}; what it is outside is 'public4' and 'services'`,
      };
  }
}
