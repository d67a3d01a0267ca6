/** For hosts that announce their guests: the configuration of a routing daemon, for the host and for its router. */
import { type AnnouncedWish, announcedMacs, announcedSite } from "../../export/announced.ts";
import { renderBird } from "../../export/bird.ts";
import { renderFrr } from "../../export/frr.ts";
import { type PlainWord, plainWord } from "../../export/site.ts";
import {
  type BgpPeers,
  type RoutingProtocol,
  routingProtocols,
  type Speaker,
  speakerSides,
  usualHello,
} from "../../export/speaker.ts";
import { GuardError } from "../../model/errors.ts";
import { type IpAddress, isIpv6, parseIp } from "../../model/ip-block.ts";
import { type Ipv4Address, parseIpv4 } from "../../model/ipv4.ts";
import { isLinkLocal6 } from "../../model/ipv6.ts";
import { type InterfaceName, parseInterfaceName } from "../../model/names.ts";
import type { Command, Input, Io, OptionSpec } from "../command.ts";
import { exportFile, fileOptions } from "../export-file.ts";
import { sourceOf } from "../site-source.ts";

const speakerOptions = {
  protocol: { type: "string", value: "NAME", text: `one of ${routingProtocols.join(", ")}` },
  side: {
    type: "string",
    value: "SIDE",
    default: "host",
    text: "host: tells of its guests and believes nothing; router: believes what guests may have and tells nothing",
  },
  network: { type: "string", value: "NAME", multiple: true, text: "only this network" },
  exact: { type: "boolean", text: "name every guest's addresses, not the networks' prefixes" },
  interface: {
    type: "string",
    value: "NAME",
    multiple: true,
    text: "towards the other side (default on a host: the networks' uplinks)",
  },
  id: { type: "string", value: "ADDRESS", text: "the router id: an IPv4 address of this machine" },
  hello: {
    type: "string",
    value: "SECONDS",
    text: "from one sign of life to the next (default 3 in bgp, 10 in ospf, 30 in rip)",
  },
  as: { type: "string", value: "NUMBER", text: "bgp: the autonomous system of this side" },
  "peer-as": { type: "string", value: "NUMBER", text: "bgp: that of the other side" },
  peer: { type: "string", value: "ADDRESS", multiple: true, text: "bgp: the other side, once for each family" },
  "ttl-security": { type: "boolean", text: "bgp: only from this very link (RFC 5082); both sides must have it" },
  "secret-file": {
    type: "string",
    value: "FILE",
    text: "bgp: sign every segment (RFC 2385) with the word in this file",
  },
  limit: { type: "string", value: "ROUTES", default: "1000", text: "router: take no more of one session and family" },
  ...fileOptions,
} as const satisfies Record<string, OptionSpec>;

/** A third of what BGP can say (RFC 4271 section 4.2). */
const MOST_HELLO = 21_845;
/** FRR's. */
const LEAST_RIP = 5;
/** A routing daemon's group may read it, and nobody else. */
const SECRET_MODE = 0o640;

const usage = (text: string): GuardError => new GuardError("USAGE", text);

function choice<T extends string>(input: Input, name: string, known: readonly T[]): T {
  const text = input.option(name);
  const found = known.find((word) => word === text);
  if (found !== undefined) return found;
  throw usage(
    text === undefined
      ? `--${name} is missing: ${known.join(", ")}`
      : `--${name}: '${text}' is not one of ${known.join(", ")}`,
  );
}

/** @throws USAGE */
function number(input: Input, name: string, most: number, usual?: number): number {
  const text = input.option(name);
  if (text === undefined && usual !== undefined) return usual;
  if (text !== undefined && /^[1-9]\d{0,9}$/.test(text) && Number(text) <= most) return Number(text);
  throw usage(text === undefined ? `--${name} is missing` : `--${name}: '${text}' is not a number from 1 to ${most}`);
}

function interfacesOf(input: Input): readonly InterfaceName[] {
  return input.options("interface").map((text) => {
    const name = parseInterfaceName(text);
    if (name !== undefined) return name;
    throw usage(`--interface: '${text}' is no interface name`);
  });
}

function idOf(input: Input): Ipv4Address | undefined {
  const text = input.option("id");
  const id = text === undefined ? undefined : parseIpv4(text);
  if (text === undefined || id !== undefined) return id;
  throw usage(`--id: '${text}' is no IPv4 address`);
}

function peersOf(input: Input): readonly IpAddress[] {
  const peers = input.options("peer").map((text) => {
    const address = parseIp(text);
    if (address === undefined) throw usage(`--peer: '${text}' is no address`);
    if (isIpv6(address) && isLinkLocal6(address)) throw usage(`--peer: ${text} is of one link; name a global address`);
    return address;
  });
  if (peers.length === 0) throw usage("--peer is missing: the other side's address");
  return [...new Set(peers)];
}

const bgpOnly = ["as", "peer-as", "secret-file"] as const;

async function bgpOf(input: Input, io: Io, protocol: RoutingProtocol): Promise<BgpPeers | undefined> {
  if (protocol !== "bgp") {
    const other = bgpOnly.find((name) => input.option(name) !== undefined);
    const peer = input.options("peer").length > 0 ? "peer" : undefined;
    const extra = other ?? peer ?? (input.flag("ttl-security") ? "ttl-security" : undefined);
    if (extra !== undefined) throw usage(`--${extra} goes with --protocol bgp`);
    return undefined;
  }
  const [as, peerAs] = [number(input, "as", 4_294_967_294), number(input, "peer-as", 4_294_967_294)];
  const own = { as, peerAs, addresses: peersOf(input), ttlSecurity: input.flag("ttl-security") };
  const secret = await secretOf(input, io);
  return secret === undefined ? own : { ...own, secret };
}

async function secretOf(input: Input, io: Io): Promise<PlainWord | undefined> {
  const path = input.option("secret-file");
  if (path === undefined) return undefined;
  const word = (await io.readFile(path)).trim();
  // TCP_MD5SIG_MAXKEYLEN.
  if (word.length > 80) throw usage(`--secret-file: the word has ${word.length} letters, and 80 are what TCP takes`);
  return plainWord(word, "the word");
}

/** Everything but what the site says. */
type Typed = Omit<Speaker, "announced">;

async function typedOf(input: Input, io: Io, isIdNeeded: boolean): Promise<Typed> {
  const protocol = choice(input, "protocol", routingProtocols);
  const side = choice(input, "side", speakerSides);
  const [interfaces, routerId, bgp] = [interfacesOf(input), idOf(input), await bgpOf(input, io, protocol)];
  const isNowhere = side === "router" && interfaces.length === 0;
  if (isNowhere && protocol !== "bgp") throw usage("--interface is missing: where the router meets the hosts");
  if (routerId === undefined && (isIdNeeded || isNowhere))
    throw usage("--id is missing: an IPv4 address of this machine, which no other router has");
  const hello = number(input, "hello", MOST_HELLO, usualHello[protocol]);
  if (protocol === "rip" && hello < LEAST_RIP) throw usage(`--hello: RIP speaks every ${LEAST_RIP} seconds at most`);
  return {
    side,
    protocol,
    interfaces,
    hello,
    limit: number(input, "limit", 1_000_000),
    ...(routerId === undefined ? {} : { routerId }),
    ...(bgp === undefined ? {} : { bgp }),
  };
}

async function exportSpeaker(
  input: Input,
  io: Io,
  isIdNeeded: boolean,
  render: (speaker: Speaker) => string,
): Promise<number> {
  const typed = await typedOf(input, io, isIdNeeded);
  const wish: AnnouncedWish = { networks: input.options("network"), exact: input.flag("exact") };
  return exportFile(input, io, () => {
    const { read, stamp } = sourceOf(input, io, announcedMacs(wish));
    const text = async (): Promise<string> => {
      const announced = announcedSite(await read(), wish);
      const isOwn = typed.interfaces.length > 0 || typed.side === "router";
      return render({ ...typed, announced, interfaces: isOwn ? typed.interfaces : announced.uplinks });
    };
    return typed.bgp?.secret === undefined ? { stamp, text } : { stamp, text, mode: SECRET_MODE };
  });
}

const details =
  "A complete configuration: on a host it tells the routes that vifguard has put into the kernel for its guests, and believes nothing that is said on the LAN; with --side router it believes exactly such routes. Only networks whose wiring is routed, transport or nat are spoken of, those of nat by their public addresses. docs/announcing.md says which protocol to choose, and what else to do.";

export const exportBirdCommand: Command = {
  name: "export bird",
  summary: "bird.conf of BIRD 2: announce this host's guests by BGP, OSPF or RIP",
  details,
  arguments: [],
  options: speakerOptions,
  examples: [
    "vifguard export bird --protocol bgp --as 65001 --peer-as 65000 --peer 203.0.113.1 -o /etc/bird/bird.conf",
    "vifguard export bird -f site.yaml --side router --protocol ospf --interface eth1",
  ],
  run: (input, io) => exportSpeaker(input, io, false, renderBird),
};

export const exportFrrCommand: Command = {
  name: "export frr",
  summary: "frr.conf of FRR: announce this host's guests by BGP, OSPF or RIP",
  details: `${details} FRR cannot see whose a kernel route is: with --exact it tells of guests' addresses alone, and of no other host route inside the networks' prefixes.`,
  arguments: [],
  options: speakerOptions,
  examples: [
    "vifguard export frr --protocol ospf --id 203.0.113.3 --exact -o /etc/frr/frr.conf",
    'vifguard export frr --protocol rip --id 203.0.113.3 -o /etc/frr/frr.conf --watch --reload "vtysh -f /etc/frr/frr.conf"',
  ],
  run: (input, io) => exportSpeaker(input, io, true, renderFrr),
};
