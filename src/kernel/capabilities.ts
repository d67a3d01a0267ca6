/**
 * Tries out what this kernel can do of what the guard needs. Rules are offered as a transaction that is never committed (`nft -c`; a batch without an end), so the
 * kernel takes every step, real hooks on `lo` included, and undoes it: nothing is left, and nothing was ever in force, even when the agent dies on the way.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Capability, Finding, Findings } from "../model/capabilities.ts";
import { openNetlink } from "./netlink.ts";
import { errnoName, MessageWriter, NLM_F } from "./netlink-message.ts";
import { batchEdge, writePrefixChain, writeTable } from "./nft-codec.ts";

const NETLINK_NETFILTER = 12;
const TABLE = "vifguard_probe";
const TIMEOUT = 60_000;
const run = promisify(execFile);
const environment = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

const table = (family: string, ...lines: readonly string[]): string =>
  `table ${family} ${TABLE} {\n${lines.map((line) => `\t${line}\n`).join("")}}\n`;
const base = (name: string, hook: string): string =>
  `chain ${name} { type filter hook ${hook} priority 0; policy accept; }`;
const rule = (name: string, text: string): string => `chain ${name} {\n${text}\n}`;

/** Each is what the guard does with it, cut down to what the kernel must agree to. Chains bear different names, so that all fit one transaction. */
const trials = {
  "netdev-ingress": table("netdev", base("ingress", 'ingress device "lo"')),
  "netdev-egress": table("netdev", base("egress", 'egress device "lo"')),
  "bridge-family": table(
    "bridge",
    ...["prerouting", "input", "postrouting"].map((hook) => base(hook, hook)),
    rule("by_name", 'iifname "vifguard*" drop'),
  ),
  "inet-family": table("inet", ...["prerouting", "postrouting"].map((hook) => base(hook, hook))),
  "arp-family": table("arp", ...["input", "output"].map((hook) => base(hook, hook))),
  "element-limits": table(
    "netdev",
    "set limited { typeof meta iif; size 4; limit rate 1/second\n elements = { 1 limit rate 50/second burst 100 packets }\n }",
    "map shares { typeof meta iif : meta mark; size 4; limit rate 1/second\n }",
  ),
  "learning-sets": table(
    "netdev",
    "set learned { typeof meta oif . @nh,96,32; size 4; flags dynamic,timeout; timeout 1d; }",
    rule("learn", "update @learned { meta oif . @nh,96,32 }"),
  ),
  "counting-sets": table(
    "netdev",
    "set counted { typeof meta iif . meta mark; size 4; flags dynamic; counter; }",
    rule("count", "update @counted { meta iif . meta mark }"),
  ),
  "range-keys": table(
    "netdev",
    "set ranges { typeof meta iif . @nh,96,32; size 4; flags interval; }",
    rule("in_range", "meta iif . @nh,96,32 @ranges accept"),
  ),
  "host-addresses": table("netdev", rule("host", "fib daddr type { local, broadcast, anycast } drop")),
  "ip6-headers": table("netdev", rule("headers", "exthdr rt exists drop\nfrag frag-off 0 drop")),
  "frame-log": table("netdev", rule("hand_up", "log group 7067 snaplen 600 queue-threshold 1")),
  "frame-answers": table(
    "netdev",
    "map asked { typeof meta oif . @nh,112,32 : @nh,64,48; size 4; flags dynamic,timeout; timeout 10s; }",
    rule("remember", "update @asked { meta oif . @nh,112,32 : @nh,64,48 }"),
    rule("send_on", "@ll,0,48 set meta iif . @nh,192,32 map @asked accept"),
    rule("send_back", "@nh,192,32 set @nh,112,32 @ll,0,48 set @ll,48,48 fwd to meta iif"),
  ),
} as const satisfies Partial<Record<Capability, string>>;

/** Zones, states and original tuples, as groups that need connection state are judged; the same where a bridge forwards and where the host does. */
const conntrackRules = [
  "map zones { typeof meta iif : ct zone; size 4; }",
  "set members { typeof ct zone . ct original ip saddr; size 4; }",
  "set members6 { typeof ct zone . ct original ip6 saddr; size 4; }",
  "chain zoned { type filter hook prerouting priority -300; policy accept;\nct zone set meta iif map @zones\n}",
  `chain judged { type filter hook forward priority 0; policy accept;
ct state invalid drop
ct direction reply ct zone . ct original ip saddr @members meta l4proto tcp ct original proto-dst 80 accept
ct zone . ct original ip6 saddr @members6 accept
}`,
] as const;

/** What groups that need connection state want, and networks whose addresses are translated. nft 1.0.6 wants the line's end behind the count. */
const policyTrials = {
  "bridge-conntrack": table("bridge", ...conntrackRules),
  "inet-conntrack": table("inet", ...conntrackRules),
  "connection-limits": table(
    "inet",
    "set tracked { typeof ct zone . ct original ip saddr; ct count over 8\nelements = { 1 . 192.0.2.1 ct count over 4 }\n}",
    rule("track", "ct state new ct zone . ct original ip saddr @tracked drop"),
  ),
  "inet-nat": table(
    "inet",
    "map public { typeof ip daddr . meta l4proto . th dport : ip saddr . th dport; size 4; }",
    "map leaves { typeof ip saddr : ip daddr; size 4; }",
    "chain led { type nat hook prerouting priority -100; policy accept;\ndnat ip to ip daddr . meta l4proto . th dport map @public\n}",
    "chain left { type nat hook postrouting priority 100; policy accept;\nmeta iif 1 snat ip to ip saddr map @leaves\nmasquerade\n}",
  ),
} as const satisfies Partial<Record<Capability, string>>;

const yes: Finding = { has: "yes" };

/** nft's last words without the place in our file. */
function refusal(error: unknown): string {
  const stderr: unknown = error instanceof Error && "stderr" in error ? error.stderr : undefined;
  const text = typeof stderr === "string" && stderr !== "" ? stderr : String(error);
  return (text.split("\n")[0] ?? text).replace(/^.*?Error: /, "nft: ");
}

async function tryText(text: string): Promise<Finding> {
  // A file, because nft 1.0.6 cannot open /dev/stdin when that is a socket pair, as it is under Node.
  const directory = await mkdtemp(join(tmpdir(), "vifguard-probe-"));
  try {
    const file = join(directory, "probe.nft");
    await writeFile(file, text);
    await run("nft", ["-c", "-f", file], { env: environment, timeout: TIMEOUT });
    return yes;
  } catch (error) {
    return { has: "no", words: refusal(error) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** By netlink, because nft 1.0.6 takes `vif*` for the whole name of a device. */
function tryPrefixDevices(): Finding {
  const socket = openNetlink({ protocol: NETLINK_NETFILTER });
  try {
    const writer = new MessageWriter();
    const first = socket.nextSequence();
    batchEdge(writer, "BEGIN", first);
    writeTable(writer, 0, socket.nextSequence(), "netdev", TABLE);
    const last = socket.nextSequence();
    writePrefixChain(writer, NLM_F.ACK, last, TABLE, "by_prefix", "vifguard");
    const refused = socket.transact(writer, first, last);
    return refused === undefined ? yes : { has: "no", words: errnoName(refused.errno) };
  } finally {
    socket.close();
  }
}

// In a network namespace of its own: a bridge here would be seen by every program that watches links. A status below is the kernel's no; any other that
// is not 0 says that it could not be tried (no right to make a namespace, no iproute2).
const noes: Readonly<Record<number, string>> = { 4: "the flag does not stay", 5: "br_netfilter is not loaded" };
const LOCK = `ip link add vgp0 type bridge && ip link add vgp1 type veth peer name vgp2 && ip link set vgp1 master vgp0 || exit 3
bridge link set dev vgp1 locked on || exit 3
bridge -d link show dev vgp1 | grep -q 'locked on' || exit 4`;

// The flags alone do nothing: it is br_netfilter that heeds them. It is never loaded from here, because from then on every bridge of the host hands its
// packets over, unless the sysctls say otherwise.
const NETFILTER = `ip link add vgp0 type bridge || exit 3
ip link set vgp0 type bridge nf_call_iptables 1 nf_call_ip6tables 1
ip -d link show dev vgp0 | grep -q 'nf_call_iptables 1 nf_call_ip6tables 1' || exit 4
test -e /proc/sys/net/bridge/bridge-nf-call-iptables || exit 5`;

async function tryElsewhere(script: string): Promise<Finding> {
  try {
    await run("unshare", ["--net", "sh", "-c", script], { env: environment, timeout: TIMEOUT });
    return yes;
  } catch (error) {
    const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
    const words = typeof code === "number" ? noes[code] : undefined;
    return words === undefined ? { has: "untested" } : { has: "no", words };
  }
}

/** One transaction for all: only where that is refused does it take more to find out which it was. */
async function tryNeeded(): Promise<Record<keyof typeof trials, Finding>> {
  const { has } = await tryText(Object.values(trials).join(""));
  const one = (name: keyof typeof trials): Promise<Finding> =>
    has === "yes" ? Promise.resolve(yes) : tryText(trials[name]);
  return {
    "netdev-ingress": await one("netdev-ingress"),
    "netdev-egress": await one("netdev-egress"),
    "bridge-family": await one("bridge-family"),
    "inet-family": await one("inet-family"),
    "arp-family": await one("arp-family"),
    "element-limits": await one("element-limits"),
    "learning-sets": await one("learning-sets"),
    "counting-sets": await one("counting-sets"),
    "range-keys": await one("range-keys"),
    "host-addresses": await one("host-addresses"),
    "ip6-headers": await one("ip6-headers"),
    "frame-log": await one("frame-log"),
    "frame-answers": await one("frame-answers"),
  };
}

/** Takes 100 ms, or some hundreds where something needed is missing. */
export async function probeCapabilities(): Promise<Findings> {
  return {
    ...(await tryNeeded()),
    "port-lock": await tryElsewhere(LOCK),
    "prefix-devices": tryPrefixDevices(),
    "bridge-conntrack": await tryText(policyTrials["bridge-conntrack"]),
    "inet-conntrack": await tryText(policyTrials["inet-conntrack"]),
    "bridge-netfilter": await tryElsewhere(NETFILTER),
    "connection-limits": await tryText(policyTrials["connection-limits"]),
    "inet-nat": await tryText(policyTrials["inet-nat"]),
  };
}
