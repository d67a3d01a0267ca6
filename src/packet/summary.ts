/** One line for a frame, as people read it in a log: outer layers first, nothing a guest wrote can control a terminal. */
import { unreachable } from "../model/never.ts";
import { dhcpTypes } from "./dhcp4-message.ts";
import type { Frame, Layer } from "./frame.ts";

const hex = (value: number): string => `0x${value.toString(16).padStart(4, "0")}`;
/** Types an operator knows by name. */
const etherTypes: Readonly<Record<number, string>> = {
  34915: "PPPoE discovery",
  34916: "PPPoE",
  34887: "MPLS",
  34958: "EAPOL",
  35020: "LLDP",
  35045: "MACsec",
  36864: "loopback",
  32821: "RARP",
};
const DHCP_TYPE = 53;

function arpText(layer: Extract<Layer, { kind: "arp" }>): string {
  const { operation, senderMac, senderIp, targetIp } = layer;
  if (operation === 1) return `ARP who-has ${targetIp} tell ${senderIp} (${senderMac})`;
  return `ARP ${operation === 2 ? "reply" : `operation ${operation}`} ${senderIp} is-at ${senderMac} to ${targetIp}`;
}

function dhcpText({ message }: Extract<Layer, { kind: "dhcp" }>): string {
  const code = message.options.get(DHCP_TYPE)?.[0];
  const type = Object.entries(dhcpTypes).find(([, number]) => number === code)?.[0] ?? `type ${code ?? "none"}`;
  const relayed = message.giaddr === "0.0.0.0" ? "" : ` giaddr ${message.giaddr}`;
  const given = message.yiaddr === "0.0.0.0" ? "" : ` yiaddr ${message.yiaddr}`;
  return `DHCP ${message.op === "request" ? "" : "answer "}${type} chaddr ${message.chaddr}${given}${relayed}`;
}

function ipv4Text({ source, destination, protocol, options, offset, more }: Extract<Layer, { kind: "ipv4" }>): string {
  const extras = [
    options > 0 ? `options ${options} octets` : "",
    offset > 0 || more ? `fragment at ${offset}${more ? "+" : ""}` : "",
  ].filter(Boolean);
  const name = { 1: "", 2: "", 6: "", 17: "" }[protocol] ?? ` protocol ${protocol}`;
  return `IPv4 ${source} > ${destination}${name}${extras.length > 0 ? ` (${extras.join(", ")})` : ""}`;
}

function layerText(layer: Layer): string {
  switch (layer.kind) {
    case "ethernet":
      return `${layer.source} > ${layer.destination}${etherTypes[layer.type] === undefined ? "" : ` ${etherTypes[layer.type]}`}`;
    case "vlan":
      return `${layer.tpid === 0x8100 ? "802.1Q" : layer.tpid === 0x88a8 ? "802.1ad" : hex(layer.tpid)} VLAN ${layer.id}${layer.priority > 0 ? ` priority ${layer.priority}` : ""}`;
    case "llc":
      return `802.3 length ${layer.length} LLC ${hex(layer.dsap).slice(4)}/${hex(layer.ssap).slice(4)}`;
    case "bpdu":
      return `STP BPDU version ${layer.version} type ${hex(layer.type)}`;
    case "arp":
      return arpText(layer);
    case "ipv4":
      return ipv4Text(layer);
    case "udp":
      return `UDP ${layer.source} > ${layer.destination}`;
    case "tcp":
      return `TCP ${layer.source} > ${layer.destination} flags ${hex(layer.flags)}`;
    case "icmp":
      return `ICMP type ${layer.type} code ${layer.code}`;
    case "igmp":
      return `IGMP type ${hex(layer.type)} group ${layer.group}`;
    case "ipv6":
      return `IPv6 ${layer.source} > ${layer.destination} next header ${layer.nextHeader}`;
    case "dhcp":
      return dhcpText(layer);
    case "unread":
      return `[${layer.what}: ${layer.why}]`;
    default:
      return unreachable(layer);
  }
}

export function summarise(frame: Frame): string {
  const [ethernet] = frame.layers;
  const unknown =
    frame.layers.length === 1 && ethernet?.kind === "ethernet" && etherTypes[ethernet.type] === undefined
      ? ` type ${hex(ethernet.type)}`
      : "";
  return `${frame.layers.map(layerText).join(" ")}${unknown} (${frame.length})`;
}
