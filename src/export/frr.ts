/**
 * One complete file for FRR 8.4 and newer (zebra and the daemon of the protocol). zebra takes every kernel route of another program for the same, whatever its
 * protocol number, so what is told is bounded by prefix: host routes where guests may be, none that leads out by an uplink and none that leads nowhere.
 */
import { isIpv6 } from "../model/ip-block.ts";
import { unreachable } from "../model/never.ts";
import type { Announced } from "./announced.ts";
import { origin } from "./site.ts";
import { type BgpPeers, ospfRetransmit, PATIENCE, RIP_GARBAGE, type Speaker } from "./speaker.ts";

type Family = 4 | 6;
type Lines = readonly string[];

const NOTHING = "VIFGUARD-NOTHING";
const ip = (family: Family): string => (family === 4 ? "ip" : "ipv6");
const block = (head: string, lines: Lines, end = "exit"): Lines => [head, ...lines.map((line) => ` ${line}`), end];
const isHost = ({ side }: Speaker): boolean => side === "host";

function prefixLines(family: Family, blocks: readonly Announced[]): Lines {
  const whole = family === 4 ? 32 : 128;
  return blocks.map(
    ({ base, length, hosts }) =>
      `${ip(family)} prefix-list VIFGUARD${family} permit ${base}/${length}${hosts ? ` ge ${whole}` : ""}`,
  );
}

/** Where a daemon does not know the match it stands for no match at all, and the entry would deny everything: ospf6d has no type of next hop, ripd and ripngd look at the way out of the packet. */
function deniedLines({ interfaces, side, protocol }: Speaker, family: Family): Lines {
  if (side === "router" || protocol === "rip" || (protocol === "ospf" && family === 6)) return [];
  const nowhere = [`match ${ip(family)} next-hop type blackhole`];
  return [
    ...interfaces.flatMap((uplink, n) =>
      block(`route-map VIFGUARD${family} deny ${10 + n}`, [`match interface ${uplink}`]),
    ),
    ...block(`route-map VIFGUARD${family} deny 500`, nowhere),
  ];
}

function mapLines(speaker: Speaker, family: Family): Lines {
  const name = `VIFGUARD${family}`;
  const permit = block(`route-map ${name} permit 1000`, [`match ${ip(family)} address prefix-list ${name}`]);
  return [...deniedLines(speaker, family), ...permit];
}

/** Of what the daemon learns, what reaches the kernel. */
function kernelLine(speaker: Speaker, family: Family): string {
  const names = { bgp: "bgp", ospf: family === 4 ? "ospf" : "ospf6", rip: family === 4 ? "rip" : "ripng" } as const;
  return `${ip(family)} protocol ${names[speaker.protocol]} route-map ${isHost(speaker) ? NOTHING : `VIFGUARD${family}`}`;
}

const redistribute = (speaker: Speaker, family: Family): Lines =>
  isHost(speaker) ? [`redistribute kernel route-map VIFGUARD${family}`] : [];

function peerLines({ hello, side }: Speaker, peer: string, { peerAs, ttlSecurity, secret }: BgpPeers): Lines {
  return [
    `neighbor ${peer} remote-as ${peerAs}`,
    `neighbor ${peer} timers ${hello} ${PATIENCE.bgp * hello}`,
    `neighbor ${peer} timers connect 5`,
    ...(side === "host" ? [`neighbor ${peer} advertisement-interval 0`] : []),
    ...(ttlSecurity ? [`neighbor ${peer} ttl-security hops 1`] : []),
    ...(secret === undefined ? [] : [`neighbor ${peer} password ${secret}`]),
  ];
}

function familyLines(speaker: Speaker, family: Family, { addresses }: BgpPeers): Lines {
  const peers = addresses.filter((address) => isIpv6(address) === (family === 6));
  const each = (peer: string): Lines => {
    // What is behind a guest has the guest as next hop, which a router may not reach otherwise.
    const own = [`neighbor ${peer} activate`, ...(isHost(speaker) ? [`neighbor ${peer} next-hop-self`] : [])];
    const [told, believed] = isHost(speaker) ? [`VIFGUARD${family}`, NOTHING] : [NOTHING, `VIFGUARD${family}`];
    const limit = isHost(speaker) ? [] : [`neighbor ${peer} maximum-prefix ${speaker.limit}`];
    const told4 = isHost(speaker) ? `prefix-list ${told}` : `route-map ${told}`;
    return [...own, `neighbor ${peer} ${told4} out`, `neighbor ${peer} route-map ${believed} in`, ...limit];
  };
  return block(
    `address-family ipv${family} unicast`,
    [...redistribute(speaker, family), ...peers.flatMap(each)],
    "exit-address-family",
  );
}

function bgpLines(speaker: Speaker, peers: BgpPeers, families: readonly Family[]): Lines {
  return block(`router bgp ${peers.as}`, [
    `bgp router-id ${speaker.routerId}`,
    "no bgp default ipv4-unicast",
    ...peers.addresses.flatMap((peer) => peerLines(speaker, peer, peers)),
    ...families.flatMap((family) => familyLines(speaker, family, peers)),
  ]);
}

function ospfLines(speaker: Speaker, families: readonly Family[]): Lines {
  const { hello, interfaces, routerId } = speaker;
  const words = (family: Family): string => (family === 4 ? "ip ospf" : "ipv6 ospf6");
  const onLink = (family: Family): Lines => [
    `${words(family)} area 0`,
    `${words(family)} hello-interval ${hello}`,
    `${words(family)} dead-interval ${PATIENCE.ospf * hello}`,
    `${words(family)} retransmit-interval ${ospfRetransmit(hello)}`,
    // Nobody's way leads through a host (as RFC 6987 has it, of whose words ospf6d's would shut off the host's own routes too).
    ...(isHost(speaker) ? [`${words(family)} priority 0`, `${words(family)} cost 65535`] : []),
  ];
  const router = (family: Family): Lines => {
    const [head, id] = family === 4 ? ["router ospf", "ospf router-id"] : ["router ospf6", "ospf6 router-id"];
    return block(head, [
      `${id} ${routerId}`,
      "timers throttle spf 10 100 1000",
      // A change is told and taken at once, not after five seconds (RFC 2328 appendix B, MinLSInterval).
      ...(family === 4 ? ["timers throttle lsa all 200"] : []),
      "timers lsa min-arrival 100",
      ...redistribute(speaker, family),
    ]);
  };
  return [
    ...interfaces.flatMap((name) => block(`interface ${name}`, families.flatMap(onLink))),
    ...families.flatMap(router),
  ];
}

/** Both lists: ripngd does not know the prefixes of a route map, and would tell everything. */
function ripLists(speaker: Speaker, family: Family): Lines {
  const words = family === 4 ? "distribute-list prefix" : "ipv6 distribute-list prefix";
  const [told, believed] = isHost(speaker) ? [`VIFGUARD${family}`, NOTHING] : [NOTHING, `VIFGUARD${family}`];
  return [`${words} ${told} out`, `${words} ${believed} in`];
}

function ripLines(speaker: Speaker, families: readonly Family[]): Lines {
  const { hello, interfaces } = speaker;
  const timers = `timers basic ${hello} ${PATIENCE.rip * hello} ${RIP_GARBAGE * hello}`;
  return families.flatMap((family) =>
    block(family === 4 ? "router rip" : "router ripng", [
      ...(family === 4 ? ["version 2"] : []),
      ...interfaces.map((name) => `network ${name}`),
      timers,
      ...ripLists(speaker, family),
      ...redistribute(speaker, family),
    ]),
  );
}

function protocolLines(speaker: Speaker, families: readonly Family[]): Lines {
  switch (speaker.protocol) {
    case "bgp":
      return speaker.bgp === undefined ? [] : bgpLines(speaker, speaker.bgp, families);
    case "ospf":
      return ospfLines(speaker, families);
    case "rip":
      return ripLines(speaker, families);
    default:
      return unreachable(speaker.protocol);
  }
}

/** @param speaker with its `routerId`: FRR would choose the address that every guest's port has */
export function renderFrr(speaker: Speaker): string {
  const { blocks4, blocks6 } = speaker.announced;
  const all = [
    { family: 4, blocks: blocks4 },
    { family: 6, blocks: blocks6 },
  ] as const;
  const spoken = all.filter(({ blocks }) => blocks.length > 0);
  const lines = [
    `! ${origin("frr")}`,
    "log syslog informational",
    `ip router-id ${speaker.routerId}`,
    ...block(`route-map ${NOTHING} deny 10`, []),
    ...spoken.flatMap(({ family, blocks }) => [
      "!",
      ...prefixLines(family, blocks),
      `${ip(family)} prefix-list ${NOTHING} deny any`,
      ...mapLines(speaker, family),
      kernelLine(speaker, family),
    ]),
    "!",
    ...protocolLines(
      speaker,
      spoken.map(({ family }) => family),
    ),
  ];
  return `${lines.join("\n")}\n`;
}
