/** Where the guests of routed networks are, for routers that are told by hand: what the kernel holds, and the host's own address on the uplink. */

import { blockOctets } from "../model/ip-block.ts";
import { ipv4FromBytes, prefix4Contains } from "../model/ipv4.ts";
import { ipv6FromBytes, prefix6Contains } from "../model/ipv6.ts";
import type { RouteView } from "../model/operations.ts";
import type { Attachment, IpBlock, NetworkSpec } from "../model/resources.ts";
import { announcingUplink } from "../model/wiring.ts";
import { announcedBlocks, routePrefix } from "../plan/announced.ts";
import { nicsOf } from "../plan/sources.ts";
import { LOOPBACK } from "../ruleset/nat.ts";
import type { Core } from "./core.ts";
import { holdIn } from "./moves.ts";

const routeKey = (ifindex: number, address: Uint8Array, length: number): string =>
  `${ifindex} ${address.join(".")}/${length}`;

const lengthOf = (block: IpBlock): number => Number(routePrefix(block).split("/")[1]);

interface Way {
  readonly four?: string;
  readonly six?: string;
}

/** The address that lies in the network comes first: that is the LAN its routers are on. */
function wayOf({ parts: { links } }: Core, { wiring, prefix4, prefix6 }: NetworkSpec): Way {
  const uplink = announcingUplink(wiring);
  const link = uplink === undefined ? undefined : links.byName(uplink);
  const all = link === undefined ? [] : links.addresses(link.ifindex);
  const fours = all.filter(({ length }) => length === 4).map((bytes) => ipv4FromBytes(bytes));
  const sixes = all.filter(({ length }) => length === 16).map((bytes) => ipv6FromBytes(bytes));
  const four = fours.find((address) => prefix4Contains(prefix4, address)) ?? fours[0];
  const six = sixes.find((address) => prefix6 !== undefined && prefix6Contains(prefix6, address)) ?? sixes[0];
  return { ...(four === undefined ? {} : { four }), ...(six === undefined ? {} : { six }) };
}

const nicKey = (guest: string, nic: number): string => `${guest}/${nic}`;

export function guestRoutes(core: Core): readonly RouteView[] {
  const { mirror, parts } = core;
  const held = new Set(
    parts.routing.routes
      .held("route")
      .flatMap((item) => (item.kind === "route" ? [routeKey(item.ifindex, item.address, item.length)] : [])),
  );
  const here = new Map<string, Attachment>();
  for (const one of mirror.attachments.values()) {
    const key = nicKey(one.guest, one.nic);
    // A port that let go of the NIC, or waits for it, may be beside the one that has it.
    if (!here.has(key) || holdIn(core, one) === "ours") here.set(key, one);
  }
  const ways = new Map([...mirror.networks].map(([name, spec]) => [name, wayOf(core, spec)]));

  /** Public addresses are at the loopback device, whoever of this host has them. */
  function isRouted(own: Attachment, block: IpBlock): boolean {
    const devices = holdIn(core, own) === "ours" ? [own.ifindex, LOOPBACK] : [own.ifindex];
    const { first } = blockOctets(block);
    return devices.some((ifindex) => held.has(routeKey(ifindex, first, lengthOf(block))));
  }

  function placeOf(key: string, block: IpBlock, way: Way): Pick<RouteView, "host" | "port" | "via"> {
    const own = here.get(key);
    // A host that let go of the NIC keeps a record of its port, and one that waits has one already: the claim says who answers.
    const holder = mirror.claims.get(key)?.holder?.host;
    if (own !== undefined && isRouted(own, block)) {
      const via = block.kind.endsWith("4") ? way.four : way.six;
      return { host: parts.host, port: own.port, ...(via === undefined ? {} : { via }) };
    }
    return holder === undefined || holder === parts.host ? {} : { host: holder };
  }

  return [...mirror.guests.values()].flatMap((guest) =>
    nicsOf(guest).flatMap((nic, n) => {
      const { network: name } = nic.identity;
      const network = mirror.networks.get(name);
      if (network === undefined || announcingUplink(network.wiring) === undefined) return [];
      return announcedBlocks(nic, network).map((block) => ({
        prefix: routePrefix(block),
        network: name,
        guest: guest.name,
        nic: n,
        ...placeOf(nicKey(guest.name, n), block, ways.get(name) ?? {}),
      }));
    }),
  );
}
