/** The fields of an addressing by its kind: what relay and snoop need, what goes with managed alone, and what they must fulfil. */
import { z } from "zod";
import type { Ipv4Address } from "../model/ipv4.ts";
import { type Ipv6Address, isLinkLocal6, isMulticast6 } from "../model/ipv6.ts";
import { isGroupMac } from "../model/mac.ts";
import type {
  Addressing,
  LanServer,
  LearnedAddressing,
  ManagedAddressing,
  NetworkSpec,
  SnoopAddressing,
  Told,
} from "../model/resources.ts";
import { parsed, typeNames } from "./fields.ts";
import type { FieldFault } from "./issues.ts";
import { address4, address6, macAddress } from "./text.ts";

type Server<A> = A | LanServer<A>;

const serverMac = parsed(
  macAddress,
  "The MAC its answers come from, with snoop; without it any machine of the LAN could answer in its name.",
).exactOptional();
const server4 = z.union([
  parsed(address4, "DHCP server."),
  z.strictObject({ address: parsed(address4, "DHCP server."), mac: serverMac }),
]);
const server6 = z.union([
  parsed(address6, "DHCPv6 server."),
  z.strictObject({ address: parsed(address6, "DHCPv6 server."), mac: serverMac }),
]);

export const learnedFields = {
  servers: z
    .array(server4)
    .max(8)
    .default([])
    .register(typeNames, { type: "list of IPv4 address | {address, mac}" })
    .describe("With relay and snoop: the DHCP servers; answers of all others are dropped."),
  servers6: z
    .array(server6)
    .max(8)
    .default([])
    .register(typeNames, { type: "list of IPv6 address | {address, mac}" })
    .describe("The same for DHCPv6. With snoop the address answers come from, which is link-local as a rule."),
  giaddr: parsed(
    address4,
    "With relay: the host's address that servers answer to. Without it the one the host has on the way to each server.",
  ).exactOptional(),
  serverIdOverride: z
    .boolean()
    .default(false)
    .describe(
      "With relay: servers are asked to call themselves by gateway4 (RFC 5107). Not needed for renewals, which are caught at the port whomever they are for.",
    ),
} as const;

/** As it is written, of every kind: what one kind fills in and another refuses may be absent. */
export interface WrittenAddressing extends Told, Partial<Omit<ManagedAddressing, keyof Told | "kind">> {
  readonly kind: Addressing["kind"];
  readonly servers: readonly Server<Ipv4Address>[];
  readonly servers6: readonly Server<Ipv6Address>[];
  readonly giaddr?: Ipv4Address;
  readonly serverIdOverride: boolean;
}

export type Context = z.core.$RefinementCtx<unknown>;

function fault(context: Context, field: keyof WrittenAddressing, message: string): undefined {
  context.addIssue({ code: "custom", path: [field], message });
  return undefined;
}

const decided = [
  "leaseSeconds",
  "macScheme",
  "domain",
  "mtu",
  "conflictDetection",
  "ntp6",
  "boot",
  "options",
  "options6",
  "classes",
] as const satisfies readonly (keyof WrittenAddressing)[];

/** What was written although another server tells it; an empty list that is spelled out cannot be told from none. */
function strayManaged(written: WrittenAddressing): keyof WrittenAddressing | undefined {
  const named = decided.find((field) => written[field] !== undefined);
  return named ?? (["dns", "dns6", "ntp", "search", "routes"] as const).find((field) => written[field].length > 0);
}

const lanServer = <A extends string>(server: Server<A>): LanServer<A> =>
  typeof server === "string" ? { address: server } : server;

/** What is left where addresses are decided here; undefined when servers are named. */
export function withoutServers(
  written: WrittenAddressing,
  context: Context,
): Omit<WrittenAddressing, "servers" | "servers6" | "giaddr" | "serverIdOverride"> | undefined {
  const { servers, servers6, giaddr, serverIdOverride, ...rest } = written;
  const named = servers.length > 0 ? "servers" : "servers6";
  if (servers.length + servers6.length > 0) return fault(context, named, "goes with relay or snoop; leave it out");
  if (giaddr !== undefined) return fault(context, "giaddr", "goes with relay; leave it out");
  if (serverIdOverride) return fault(context, "serverIdOverride", "goes with relay; leave it out");
  return rest;
}

function relay(written: WrittenAddressing, context: Context): LearnedAddressing | undefined {
  const { giaddr, serverIdOverride } = written;
  const [servers, servers6] = [written.servers.map(lanServer), written.servers6.map(lanServer)];
  for (const [field, list] of [["servers", servers] as const, ["servers6", servers6] as const])
    if (list.some(({ mac }) => mac !== undefined)) return fault(context, field, "a MAC goes with snoop; leave it out");
  return {
    kind: "relay",
    servers: servers.map(({ address }) => address),
    servers6: servers6.map(({ address }) => address),
    ...(giaddr === undefined ? {} : { giaddr }),
    serverIdOverride,
  };
}

function snoop(written: WrittenAddressing, context: Context): LearnedAddressing | undefined {
  const { servers, servers6, giaddr, serverIdOverride } = written;
  if (giaddr !== undefined) return fault(context, "giaddr", "goes with relay; leave it out");
  if (serverIdOverride) return fault(context, "serverIdOverride", "goes with relay; leave it out");
  return { kind: "snoop", servers: servers.map(lanServer), servers6: servers6.map(lanServer) };
}

export function learnedOf(written: WrittenAddressing, context: Context): LearnedAddressing | undefined {
  const stray = strayManaged(written);
  if (stray !== undefined)
    return fault(context, stray, `goes with managed: with ${written.kind} the DHCP server decides; leave it out`);
  return written.kind === "relay" ? relay(written, context) : snoop(written, context);
}

const addressOf = <A extends string>(server: Server<A>): A => (typeof server === "string" ? server : server.address);

function* serverFaults({ prefix6 }: NetworkSpec, addressing: LearnedAddressing): Iterable<FieldFault> {
  const field = ["spec", "addressing"];
  if (addressing.servers.length + addressing.servers6.length === 0)
    yield { field: [...field, "servers"], says: "names no server: guests would never get an address" };
  if (addressing.servers6.length > 0 && prefix6 === undefined)
    yield { field: [...field, "servers6"], says: "goes with prefix6, which is not here" };
  for (const [n, server] of addressing.servers.entries()) {
    const address = addressOf(server);
    if (/^(?:0|127|22[4-9]|2[3-5]\d)\./.test(address))
      yield { field: [...field, "servers", n], says: `${address} is no machine's own address` };
  }
  for (const [n, server] of addressing.servers6.entries()) {
    const address = addressOf(server);
    if (isMulticast6(address) || address === "::" || address === "::1")
      yield { field: [...field, "servers6", n], says: `${address} is no machine's own address` };
    else if (addressing.kind === "relay" && isLinkLocal6(address))
      yield {
        field: [...field, "servers6", n],
        says: `${address} is link-local: the relay would not know on which link`,
      };
  }
}

function* snoopFaults({ wiring }: NetworkSpec, { servers, servers6 }: SnoopAddressing): Iterable<FieldFault> {
  const field = ["spec", "addressing"];
  for (const [name, list] of [["servers", servers] as const, ["servers6", servers6] as const])
    for (const [n, { mac }] of list.entries())
      if (mac !== undefined && isGroupMac(mac))
        yield { field: [...field, name, n, "mac"], says: `${mac} is a group address, and no machine's own` };
  if (wiring.kind !== "bridged")
    yield {
      field: [...field, "kind"],
      says: `snoop needs a bridge, on which guests' questions reach the servers: it does not go with ${wiring.kind}`,
    };
}

function* relayFaults({ wiring }: NetworkSpec): Iterable<FieldFault> {
  if (wiring.kind === "bridged") return;
  if (wiring.kind !== "routed")
    yield {
      field: ["spec", "addressing", "kind"],
      says: `with ${wiring.kind} vifguard decides the addresses: managed goes with it`,
    };
  else if (wiring.gives === "address")
    yield {
      field: ["spec", "wiring", "gives"],
      says: "the DHCP server tells guests a prefix and a router of their network: 'gives: prefix' goes with relay",
    };
}

/** What relay and snoop must fulfil together with the rest of their network. */
export function* learnedFaults(spec: NetworkSpec, addressing: LearnedAddressing): Iterable<FieldFault> {
  yield* serverFaults(spec, addressing);
  if (addressing.kind === "snoop") yield* snoopFaults(spec, addressing);
  else yield* relayFaults(spec);
}
