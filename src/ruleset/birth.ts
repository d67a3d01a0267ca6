/**
 * Closed from birth: whatever carries a guest prefix and is not armed passes nothing, in any direction, whether the agent runs or not.
 *
 * A netdev chain needs its device (only kernels from 6.17 with nft from 1.1.4 on know prefixes), so until a port is attached the bridge,
 * inet and arp families keep it shut. Armed ports are known by interface index: a new interface with an old name is a new index.
 * The bridge hook runs before the bridge learns the source address.
 *
 * Beside it stands the one line of the contract that the guard at the port cannot see: whether a link-local IPv6 address is the host's own
 * (`fib` looks link-local addresses up on the port, and they are the bridge's). What the bridge hands to the host itself passes its input hook.
 */
import type { PortPrefix } from "../model/names.ts";
import { accept, type Chain, goTo, inSet, is, oneOf, type Rule, type SetSpec, type Table, when } from "./ast.ts";
import { countedDrop, ETHER_TYPE, PORTS, PROTOCOL } from "./parts.ts";

const armed: SetSpec = { name: "armed", key: ["iif"], size: PORTS, use: "static" };
const closedIn: SetSpec = { name: "closed_from", key: ["iif"], size: PORTS, use: "counted" };
const closedOut: SetSpec = { name: "closed_to", key: ["oif"], size: PORTS, use: "counted" };

function gate(direction: "in" | "out", hook: string, priority: number, prefixes: readonly PortPrefix[]): Chain {
  const [port, portName, chain] =
    direction === "in" ? (["iif", "iifname", "closed_in"] as const) : (["oif", "oifname", "closed_out"] as const);
  // Accept here ends this table's own look only; the guard and every other table still judge the frame.
  const rules: Rule[] = [when([inSet("armed", port)], accept)];
  for (const prefix of prefixes) rules.push(when([{ kind: "startsWith", field: portName, prefix }], goTo(chain)));
  return { name: hook, hook: { hook, priority }, rules };
}

function birthTable(family: Table["family"], gates: readonly Chain[]): Table {
  const chains = [
    countedDrop("closed_in", "closed_from", "iif"),
    countedDrop("closed_out", "closed_to", "oif"),
    ...gates,
  ];
  return { family, sets: [armed, closedIn, closedOut], chains };
}

/** Ports whose guests may reach the host, or are only observed. */
const hostOpen: SetSpec = { name: "host_open", key: ["iif"], size: PORTS, use: "static" };
const hostClosed: SetSpec = { name: "host_from", key: ["iif"], size: PORTS, use: "counted" };

/** fe00::/8 is link-local and what is reserved beside it. Neighbour discovery was judged at the port; nothing else is offered there. */
const LINK_LOCAL = [is("etherType", ETHER_TYPE.ip6), is("ip6DestinationTop", 0xfe)];
const hostChains: readonly Chain[] = [
  countedDrop("closed_host", "host_from", "iif"),
  {
    name: "host_input",
    hook: { hook: "input", priority: -340 },
    rules: [
      when([inSet("host_open", "iif")], accept),
      when([...LINK_LOCAL, is("ip6Next", PROTOCOL.icmp6), oneOf("icmp6Type", 133, 134, 135, 136)], accept),
      when([inSet("armed", "iif"), ...LINK_LOCAL], goTo("closed_host")),
    ],
  },
];

function withHost({ sets, chains, ...table }: Table): Table {
  return { ...table, sets: [...sets, hostOpen, hostClosed], chains: [...chains, ...hostChains] };
}

/** @param prefixes beginnings of guest port names, at least one */
export function birthTables(prefixes: readonly PortPrefix[]): readonly Table[] {
  return [
    withHost(
      birthTable("bridge", [
        gate("in", "prerouting", -350, prefixes),
        // With STP on, frames to 01:80:c2:00:00:00 reach the bridge itself without passing prerouting.
        gate("in", "input", -350, prefixes),
        gate("out", "postrouting", 350, prefixes),
      ]),
    ),
    birthTable("inet", [gate("in", "prerouting", -450, prefixes), gate("out", "postrouting", 450, prefixes)]),
    birthTable("arp", [gate("in", "input", -350, prefixes), gate("out", "output", 350, prefixes)]),
  ];
}
