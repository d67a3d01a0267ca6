/**
 * One complete file for BIRD 2.0.8 and newer. On a host it learns the kernel routes that bear vifguard's protocol number and lie where guests may be, and tells
 * them; it takes nothing from the LAN and writes nothing into the kernel. On a router it takes exactly such routes.
 */
import { isIpv6 } from "../model/ip-block.ts";
import { unreachable } from "../model/never.ts";
import type { Announced } from "./announced.ts";
import { origin } from "./site.ts";
import { type BgpPeers, ospfRetransmit, PATIENCE, RIP_GARBAGE, type Speaker } from "./speaker.ts";

type Family = 4 | 6;
type Lines = readonly string[];

/** `ROUTE_PROTOCOL` of the kernel's seam, which this layer does not import. */
const OURS = 118;

const indented = (lines: Lines): Lines => lines.map((line) => `  ${line}`);
const block = (head: string, lines: Lines, end = "}"): Lines => [`${head} {`, ...indented(lines), end];

function setLines(family: Family, blocks: readonly Announced[]): Lines {
  const whole = family === 4 ? 32 : 128;
  const texts = blocks.map(({ base, length, hosts }) => `${base}/${length}${hosts ? `{${whole},${whole}}` : ""}`);
  return [`define VIFGUARD${family} = [`, ...texts.map((text, n) => (n === 0 ? `    ${text}` : `  , ${text}`)), "];"];
}

function kernelLines({ side }: Speaker, family: Family): Lines {
  const channel =
    side === "host"
      ? [`import where krt_source = ${OURS} && net ~ VIFGUARD${family};`, "export none;"]
      : ["import none;", `export where net ~ VIFGUARD${family};`];
  return block(`protocol kernel vifguard_kernel${family}`, [
    ...(side === "host" ? ["learn;"] : []),
    "scan time 10;",
    ...block(`ipv${family}`, channel, "};"),
  ]);
}

/** What is told and what is believed, whatever the protocol. */
function channelLines({ side, limit }: Speaker, family: Family, more: Lines = []): Lines {
  const lines =
    side === "host"
      ? ["import none;", `export where proto = "vifguard_kernel${family}";`]
      : [`import where net ~ VIFGUARD${family};`, `import limit ${limit} action block;`, "export none;"];
  return block(`ipv${family}`, [...lines, ...more], "};");
}

function bgpLines(speaker: Speaker, { as, peerAs, addresses, ttlSecurity, secret }: BgpPeers, family: Family): Lines {
  const { hello, side } = speaker;
  const peers = addresses.filter((address) => isIpv6(address) === (family === 6));
  if (peers.length === 0) return [`# IPv${family} is not spoken of: no peer has an IPv${family} address.`];
  return peers.flatMap((peer) =>
    block(`protocol bgp vifguard_${peer.replaceAll(/[.:]/g, "_")}`, [
      `local as ${as};`,
      `neighbor ${peer} as ${peerAs};`,
      "direct;",
      `hold time ${PATIENCE.bgp * hello};`,
      `keepalive time ${hello};`,
      "connect delay time 1;",
      "connect retry time 5;",
      "error wait time 1, 30;",
      ...(ttlSecurity ? ["ttl security on;"] : []),
      ...(secret === undefined ? [] : [`password "${secret}";`]),
      ...channelLines(speaker, family, side === "host" ? ["next hop self;"] : []),
    ]),
  );
}

const interfaceLines = ({ interfaces }: Speaker, lines: Lines): Lines =>
  interfaces.flatMap((name) => block(`interface "${name}"`, lines, "};"));

function ospfLines(speaker: Speaker, family: Family): Lines {
  const { side, hello } = speaker;
  return block(`protocol ospf v${family === 4 ? 2 : 3} vifguard_ospf${family}`, [
    // RFC 6987: nobody's way leads through a host.
    ...(side === "host" ? ["stub router yes;"] : []),
    ...channelLines(speaker, family),
    ...block(
      "area 0",
      interfaceLines(speaker, [
        "type broadcast;",
        ...(side === "host" ? ["priority 0;"] : []),
        `hello ${hello};`,
        `dead count ${PATIENCE.ospf};`,
        `retransmit ${ospfRetransmit(hello)};`,
      ]),
      "};",
    ),
  ]);
}

function ripLines(speaker: Speaker, family: Family): Lines {
  const { hello } = speaker;
  return block(`protocol rip ${family === 4 ? "" : "ng "}vifguard_rip${family}`, [
    ...channelLines(speaker, family),
    ...interfaceLines(speaker, [
      ...(family === 4 ? ["version 2;"] : []),
      "mode multicast;",
      `update time ${hello};`,
      `timeout time ${PATIENCE.rip * hello};`,
      `garbage time ${RIP_GARBAGE * hello};`,
    ]),
  ]);
}

function protocolLines(speaker: Speaker, family: Family): Lines {
  switch (speaker.protocol) {
    case "bgp":
      return speaker.bgp === undefined ? [] : bgpLines(speaker, speaker.bgp, family);
    case "ospf":
      return ospfLines(speaker, family);
    case "rip":
      return ripLines(speaker, family);
    default:
      return unreachable(speaker.protocol);
  }
}

/** Not left to BIRD: every guest's port has the same address, and a router's number must be its own. */
function idLine({ routerId, interfaces }: Speaker): string {
  const names = interfaces.map((name) => `"${name}"`).join(", ");
  return routerId === undefined ? `router id from ${names};` : `router id ${routerId};`;
}

export function renderBird(speaker: Speaker): string {
  const { blocks4, blocks6 } = speaker.announced;
  const families = [
    { family: 4, blocks: blocks4 },
    { family: 6, blocks: blocks6 },
  ] as const;
  const parts = families.flatMap(({ family, blocks }) =>
    blocks.length === 0 ? [] : [setLines(family, blocks), kernelLines(speaker, family), protocolLines(speaker, family)],
  );
  const lines = [
    `# ${origin("bird")}`,
    idLine(speaker),
    "log syslog all;",
    "protocol device { scan time 10; }",
    ...parts.flatMap((part) => ["", ...part]),
  ];
  return `${lines.join("\n")}\n`;
}
