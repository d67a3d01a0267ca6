/** One line for a frame, as people read it in a log: outer layers first. Printable ASCII only, so that nothing a guest wrote controls a terminal. */
import { ipv6FromBytes } from "../model/ipv6.ts";
import type { MacAddress } from "../model/mac.ts";
import { unreachable } from "../model/never.ts";
import { arpOperations } from "./arp.ts";
import type { Dhcp4Message } from "./dhcp4-message.ts";
import { dhcp4Options, readOption } from "./dhcp4-options.ts";
import { etherTypes } from "./ethernet.ts";
import type { Frame, Layer } from "./frame.ts";
import { echoOf, icmp4Types } from "./icmp4.ts";
import { igmpGroups, igmpTypes } from "./igmp.ts";
import { ipv4Flags, isFragment } from "./ipv4.ts";
import { extensionHeaders } from "./ipv6.ts";
import type { BridgeId } from "./stp.ts";
import { tcpFlags } from "./tcp.ts";

type Of<Kind extends Layer["kind"]> = Extract<Layer, { kind: Kind }>;

export function summarise(frame: Frame): string {
  const [outer] = frame.layers;
  const sender = outer?.kind === "ethernet" ? outer.source : undefined;
  const words = frame.layers.map((layer) => layerText(layer, sender));
  return [...words, ...faultTexts(frame)].join(" ");
}

/** Printable ASCII stays, everything else and the quoting characters become `\xNN`; cut to `most` octets. */
export function escapeBytes(bytes: Uint8Array, most = 64): string {
  const text = Array.from(bytes.subarray(0, most), escapeByte).join("");
  return bytes.length > most ? `${text}...` : text;
}

function escapeByte(byte: number): string {
  const char = String.fromCharCode(byte);
  const plain = byte >= 0x20 && byte <= 0x7e && char !== "\\" && char !== '"';
  return plain ? char : `\\x${byte.toString(16).padStart(2, "0")}`;
}

const hex = (value: number, digits = 4): string => `0x${value.toString(16).padStart(digits, "0")}`;

/** A logged frame is mostly cut short, and one word for that is enough. */
function faultTexts({ layers }: Frame): readonly string[] {
  const faults = layers.flatMap((layer) =>
    layer.kind === "unread" || layer.fault === undefined ? [] : [{ kind: layer.kind, fault: layer.fault }],
  );
  const wrong = faults.filter(({ fault }) => fault !== "truncated").map(({ kind, fault }) => `[${kind} ${fault}]`);
  return faults.length > wrong.length ? [...wrong, "[cut short]"] : wrong;
}

/** @param sender source of the Ethernet header, to tell when an inner layer names somebody else */
function layerText(layer: Layer, sender: MacAddress | undefined): string {
  switch (layer.kind) {
    case "ethernet":
      return `${layer.source} > ${layer.destination}`;
    case "vlan":
      return vlanText(layer);
    case "llc":
      return `802.3 length ${layer.length} LLC ${hex(layer.dsap, 2).slice(2)}/${hex(layer.ssap, 2).slice(2)}`;
    case "snap":
      return `SNAP ${hex(layer.oui, 6)}/${hex(layer.protocol)}`;
    case "stp":
      return stpText(layer);
    case "arp":
      return arpText(layer, sender);
    case "ipv4":
      return ipv4Text(layer);
    case "icmp4":
      return icmp4Text(layer);
    case "igmp":
      return `IGMP ${igmpNames[layer.type] ?? `type ${hex(layer.type, 2)}`} ${igmpGroups(layer).slice(0, 8).join(" ")}`;
    case "tcp":
      return `TCP ${layer.sourcePort} > ${layer.destinationPort} ${flagsText(layer.flags)}`;
    case "udp":
      return `UDP ${layer.sourcePort} > ${layer.destinationPort}`;
    case "dhcp4":
      return dhcpText(layer);
    case "ipv6":
      return ipv6LayerText(layer);
    case "icmp6":
      return `ICMPv6 ${icmp6Names[layer.type] ?? `type ${layer.type} code ${layer.code}`}${layer.target === undefined ? "" : ` ${ipv6FromBytes(layer.target)}`}`;
    case "unread":
      return layer.why === "unsupported"
        ? `${layer.what} length ${layer.bytes.length}`
        : `[${layer.what} ${layer.why}]`;
    default:
      return unreachable(layer);
  }
}

const tagNames: Readonly<Record<number, string>> = {
  [etherTypes.vlan]: "802.1Q",
  [etherTypes.providerVlan]: "802.1ad",
};

function vlanText({ id, tpid, priority, dropEligible }: Of<"vlan">): string {
  const extras = `${priority > 0 ? ` priority ${priority}` : ""}${dropEligible ? " drop-eligible" : ""}`;
  return `vlan ${id} ${tagNames[tpid] ?? hex(tpid)}${extras}`;
}

function stpText(layer: Of<"stp">): string {
  if (layer.bpdu === "topology-change") return "STP BPDU topology change";
  const { bpdu, root, bridge, cost, port } = layer;
  return `STP BPDU ${bpdu} root ${bridgeText(root)} cost ${cost} bridge ${bridgeText(bridge)} port ${hex(port)}`;
}

function bridgeText({ priority, mac }: BridgeId): string {
  return `${priority.toString(16).padStart(4, "0")}.${mac}`;
}

function arpText(layer: Of<"arp">, sender: MacAddress | undefined): string {
  const { operation, senderMac, senderIp, targetIp } = layer;
  const other = senderMac === sender ? "" : ` (sha ${senderMac})`;
  const gratuitous = senderIp === targetIp ? " (gratuitous)" : "";
  switch (operation) {
    case arpOperations.request: {
      const probe = senderIp === "0.0.0.0" && gratuitous === "" ? " (probe)" : "";
      return `ARP request who-has ${targetIp} tell ${senderIp}${probe}${gratuitous}${other}`;
    }
    case arpOperations.reply:
      return `ARP reply ${senderIp} is-at ${senderMac}${gratuitous}`;
    default:
      return `ARP operation ${operation} ${senderIp} > ${targetIp}${other}`;
  }
}

function ipv4Text(layer: Of<"ipv4">): string {
  const { source, destination, flags, offset, id, options, payload } = layer;
  const more = (flags & ipv4Flags.moreFragments) !== 0;
  const fragment = isFragment(layer)
    ? ` fragment ${hex(id)} octets ${offset}-${offset + payload.length}${more ? "+" : ""}`
    : "";
  return `IPv4 ${source} > ${destination}${options.length > 0 ? ` options ${options.length} octets` : ""}${fragment}`;
}

const icmp4Names: Readonly<Record<number, string>> = {
  [icmp4Types.echoReply]: "echo reply",
  [icmp4Types.unreachable]: "unreachable",
  [icmp4Types.redirect]: "redirect",
  [icmp4Types.echoRequest]: "echo request",
  [icmp4Types.timeExceeded]: "time exceeded",
};

function icmp4Text(layer: Of<"icmp4">): string {
  const echo = echoOf(layer);
  const name = icmp4Names[layer.type] ?? `type ${layer.type}`;
  return `ICMP ${name} ${echo === undefined ? `code ${layer.code}` : `id ${echo.id} seq ${echo.sequence}`}`;
}

const igmpNames: Readonly<Record<number, string>> = {
  [igmpTypes.query]: "query",
  [igmpTypes.report1]: "v1 report",
  [igmpTypes.report2]: "v2 report",
  [igmpTypes.leave]: "leave",
  [igmpTypes.report3]: "v3 report",
};

function flagsText(flags: number): string {
  return tcpFlags.filter((_, bit) => (flags & (1 << bit)) !== 0).join(",") || "no flags";
}

function dhcpText(message: Dhcp4Message): string {
  const { op, xid, chaddr, ciaddr, yiaddr, giaddr, options } = message;
  const hostname = options.get(dhcp4Options.hostname.number);
  const said = [
    ["ciaddr", ciaddr],
    ["requested", readOption(options, dhcp4Options.requestedAddress)],
    ["yiaddr", yiaddr],
    ["server", readOption(options, dhcp4Options.serverId)],
    ["giaddr", giaddr],
    ["hostname", hostname === undefined ? undefined : `"${escapeBytes(hostname)}"`],
  ].filter(([, value]) => value !== undefined && value !== "0.0.0.0");
  const type = readOption(options, dhcp4Options.type) ?? `${op} without a type`;
  return ["DHCP", type, "xid", xid.toString(16), "chaddr", chaddr, ...said.flat()].join(" ");
}

const extensionNames: Readonly<Record<number, string>> = {
  [extensionHeaders.hopByHop]: "hop-by-hop",
  [extensionHeaders.routing]: "routing",
  [extensionHeaders.fragment]: "fragment",
  [extensionHeaders.authentication]: "AH",
  [extensionHeaders.destination]: "destination",
  [extensionHeaders.mobility]: "mobility",
  [extensionHeaders.hip]: "HIP",
  [extensionHeaders.shim6]: "shim6",
};

function ipv6LayerText({ source, destination, chain }: Of<"ipv6">): string {
  const names = chain.headers.map(({ type }) => extensionNames[type] ?? `header ${type}`);
  const place = chain.fragment === undefined ? [] : [`at ${chain.fragment.offset}${chain.fragment.more ? "+" : ""}`];
  const end = {
    upper: [],
    nothing: ["no payload"],
    "later-fragment": [],
    truncated: ["[chain truncated]"],
    "too-many": ["[chain too long]"],
  }[chain.end];
  return [`IPv6 ${ipv6FromBytes(source)} > ${ipv6FromBytes(destination)}`, ...names, ...place, ...end].join(" ");
}

const icmp6Names: Readonly<Record<number, string>> = {
  1: "unreachable",
  2: "packet too big",
  3: "time exceeded",
  128: "echo request",
  129: "echo reply",
  130: "MLD query",
  131: "MLDv1 report",
  132: "MLDv1 done",
  133: "router solicitation",
  134: "router advertisement",
  135: "neighbour solicitation",
  136: "neighbour advertisement",
  137: "redirect",
  143: "MLDv2 report",
};
