/** What the guard asks of a kernel, why, and what brings it; and the shape the guard takes on a kernel that can so much. */
import { GuardError } from "./errors.ts";

export interface CapabilitySpec {
  readonly says: string;
  /**
   * must: without it no guard. readBack: the same, but where it cannot be tried beforehand every attach reads back whether it holds.
   * policy: groups that need connection state want it, in one shape or the other (policyNeeds).
   * nat: networks of wiring nat want it, and the agent runs without them.
   * may: told in `status`, nothing depends on it.
   */
  readonly need: "must" | "readBack" | "policy" | "nat" | "may";
  readonly why: string;
  /** First kernel that has it, and the option it is built with. */
  readonly from: string;
}

export const capabilityCatalogue = {
  "netdev-ingress": {
    says: "nf_tables chains where frames enter a port",
    need: "must",
    why: "a guest's frame must be judged before the bridge learns from it",
    from: "Linux 4.2, CONFIG_NF_TABLES_NETDEV and CONFIG_NETFILTER_INGRESS",
  },
  "netdev-egress": {
    says: "nf_tables chains where frames leave by a port",
    need: "must",
    why: "what others and the host send to a guest must be judged at its port",
    from: "Linux 5.16, CONFIG_NETFILTER_EGRESS",
  },
  "bridge-family": {
    says: "nf_tables chains of the bridge",
    need: "must",
    why: "ports that are not attached are shut by name in it, before the bridge learns",
    from: "Linux 3.18, CONFIG_NF_TABLES_BRIDGE",
  },
  "inet-family": {
    says: "nf_tables chains of IPv4 and IPv6 together",
    need: "must",
    why: "ports that are neither attached nor in a bridge are shut by name in it",
    from: "Linux 3.14, CONFIG_NF_TABLES_INET",
  },
  "arp-family": {
    says: "nf_tables chains of ARP",
    need: "must",
    why: "ports that are neither attached nor in a bridge must not get ARP answers from the host",
    from: "Linux 3.14, CONFIG_NF_TABLES_ARP",
  },
  "element-limits": {
    says: "a token bucket of its own in every element of a set",
    need: "must",
    why: "one guest's flood must not use up another's share",
    from: "Linux 5.7",
  },
  "learning-sets": {
    says: "sets that rules fill and that forget by themselves",
    need: "must",
    why: "a guest may address only those that ARP or neighbour discovery named to it",
    from: "Linux 4.1",
  },
  "counting-sets": {
    says: "a counter in every element of a set that rules fill",
    need: "must",
    why: "what is dropped is counted by port and reason",
    from: "Linux 4.1",
  },
  "range-keys": {
    says: "ranges in the last field of a key of several fields",
    need: "must",
    why: "prefixes of networks and of guests stand in such sets",
    from: "Linux 5.6",
  },
  "host-addresses": {
    says: "a lookup of the host's own addresses at a port's hook (fib daddr type)",
    need: "must",
    why: "the host opens to guests only what a network names",
    from: "Linux 4.14, CONFIG_NFT_FIB_NETDEV",
  },
  "ip6-headers": {
    says: "matches on IPv6 routing and fragment headers",
    need: "must",
    why: "IPv6 packets that hide what they carry must be told apart",
    from: "Linux 4.11",
  },
  "frame-log": {
    says: "frames handed to a program by a rule of a port (NFLOG)",
    need: "must",
    why: "a guest's DHCP requests reach the responder this way, behind the guard",
    from: "Linux 4.2, CONFIG_NETFILTER_NETLINK_LOG",
  },
  "frame-answers": {
    says: "frames that a rule changes and sends back by the port they came in by",
    need: "must",
    why: "the rules answer what brouted guests ask, with no agent",
    from: "Linux 4.5, CONFIG_NFT_FWD_NETDEV",
  },
  "port-lock": {
    says: "bridge ports that are locked",
    need: "readBack",
    why: "the bridge itself must refuse foreign MACs, as a second layer",
    from: "Linux 5.18, CONFIG_BRIDGE",
  },
  "prefix-devices": {
    says: "a port's chain hooked to a beginning of interface names",
    need: "may",
    why: "not used: nft before 1.1.4 never ends listing a table that has one",
    from: "Linux 6.17",
  },
  "bridge-conntrack": {
    says: "connection tracking in the bridge",
    need: "policy",
    why: "a flow between guests is then judged by who opened it without leaving the bridge",
    from: "Linux 5.3, CONFIG_NF_CONNTRACK_BRIDGE",
  },
  "inet-conntrack": {
    says: "connection tracking in zones where the host forwards",
    need: "policy",
    why: "where the bridge tracks nothing itself, flows are judged there by who opened them",
    from: "Linux 4.17, CONFIG_NFT_CT, CONFIG_NF_CONNTRACK and CONFIG_NF_CONNTRACK_ZONES",
  },
  "bridge-netfilter": {
    says: "a bridge of its own choice handing what it forwards to IPv4 and IPv6 (nf_call_iptables of that bridge)",
    need: "policy",
    why: "where the bridge tracks nothing itself, its packets must get to where they are tracked, and those of other bridges must not",
    from: "Linux 4.17, CONFIG_BRIDGE_NETFILTER; where that is the module br_netfilter it must be loaded",
  },
  "connection-limits": {
    says: "a limit of tracked connections of its own in every element of a set",
    need: "policy",
    why: "one guest must not fill the host's table of connections",
    from: "Linux 5.7, CONFIG_NFT_CONNLIMIT",
  },
  "inet-nat": {
    says: "translation of addresses by maps where the host forwards",
    need: "nat",
    why: "networks of wiring nat: a guest inside is reached, and leaves, by a public address",
    from: "Linux 5.7, CONFIG_NFT_NAT, CONFIG_NFT_MASQ and CONFIG_NF_NAT",
  },
} as const satisfies Record<string, CapabilitySpec>;

export type Capability = keyof typeof capabilityCatalogue;
const isCapability = (text: string): text is Capability => Object.hasOwn(capabilityCatalogue, text);
/** In the order of the catalogue. */
export const capabilities: readonly Capability[] = Object.keys(capabilityCatalogue).filter(isCapability);

export interface Finding {
  readonly has: "yes" | "no" | "untested";
  /** How the kernel, or nft, refused it. */
  readonly words?: string;
}
export type Findings = Readonly<Record<Capability, Finding>>;

/** How the guard is built on this kernel. One so far: it serves every kernel that has what it needs. */
export const shapeCatalogue = {
  "port-chains":
    "every attached port has a netdev chain for each direction; a port that is not attached is shut by its name in the families bridge, inet and arp",
} as const satisfies Record<string, string>;
export type Shape = keyof typeof shapeCatalogue;

/** How groups that need connection state are enforced on this kernel; the best that it can comes first. */
export const policyShapes = ["bridge", "bridge-netfilter", "none"] as const;
export type PolicyShape = (typeof policyShapes)[number];
export const policyShapeCatalogue: Readonly<Record<PolicyShape, string>> = {
  bridge: "connections are tracked and judged in the bridge",
  "bridge-netfilter":
    "bridges hand what they forward to IPv4 and IPv6 of the host, where connections are tracked and judged; each bridge for itself, the sysctl is left alone",
  none: "connections cannot be tracked: a NIC whose groups need it is not attached",
};
export const policyNeeds: Readonly<Record<PolicyShape, readonly Capability[]>> = {
  bridge: ["bridge-conntrack", "inet-conntrack", "connection-limits"],
  "bridge-netfilter": ["inet-conntrack", "bridge-netfilter", "connection-limits"],
  none: [],
};

/** Whether networks of wiring nat can be had: what is translated is tracked and judged where the host forwards. */
export function canTranslate({ policy, capabilities: views }: KernelView): boolean {
  return policy !== "none" && views.find(({ name }) => name === "inet-nat")?.has === "yes";
}

/** As `status` tells it. */
export interface KernelView {
  readonly policy: PolicyShape;
  readonly capabilities: readonly CapabilityView[];
}

/** Not sure is not enough: nothing would tell at attach. */
export function policyShapeOf(findings: Findings): PolicyShape {
  const canBe = (shape: PolicyShape): boolean => policyNeeds[shape].every((name) => findings[name].has === "yes");
  return policyShapes.find(canBe) ?? "none";
}

export function parseCapability(text: string): Capability | undefined {
  return isCapability(text) ? text : undefined;
}

function isMissing(name: Capability, { has }: Finding): boolean {
  const { need }: CapabilitySpec = capabilityCatalogue[name];
  // Not sure is not enough, unless it is made sure of at every attach.
  return need === "must" ? has !== "yes" : need === "readBack" && has === "no";
}

/** The first capability that is missing decides. @throws KERNEL_UNSUPPORTED */
export function shapeOf(findings: Findings): Shape {
  const missing = capabilities.find((name) => isMissing(name, findings[name]));
  if (missing === undefined) return "port-chains";
  const { says, why, from } = capabilityCatalogue[missing];
  const { words } = findings[missing];
  throw new GuardError(
    "KERNEL_UNSUPPORTED",
    `this kernel has no ${missing} (${says})${words === undefined ? "" : `: ${words}`}; without it there is no guard, because ${why}; it comes with ${from}`,
    { fields: { capability: missing } },
  );
}

/** As if the kernel could not do these. */
export function without(findings: Findings, names: readonly Capability[]): Findings {
  const taken = names.map((name) => [name, { has: "no", words: "taken away with --without" }] as const);
  return { ...findings, ...Object.fromEntries(taken) };
}

/** One capability as `status` shows it. */
export interface CapabilityView {
  readonly name: string;
  readonly has: Finding["has"];
  /** By the guard. */
  readonly needed: boolean;
  /** By groups that need connection state, in one shape or the other, or by networks whose addresses are translated. */
  readonly policy: boolean;
  readonly says: string;
}

export function capabilityViews(findings: Findings): readonly CapabilityView[] {
  return capabilities.map((name) => {
    const { says, need }: CapabilitySpec = capabilityCatalogue[name];
    const needed = need === "must" || need === "readBack";
    return { name, has: findings[name].has, needed, policy: need === "policy" || need === "nat", says };
  });
}
