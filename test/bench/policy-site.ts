/** Sites with security groups for measuring: ten groups of twenty rules each, of ports, prefixes and other groups; and the same rules as plain lists. */

const GROUPS = 10;
/** Where the measured flow goes: beyond the gateway, answered by nobody. */
export const BEYOND = "198.51.100.1";

type To = { readonly prefix: string } | { readonly group: number } | undefined;
interface BenchRule {
  readonly protocol: "tcp" | "udp";
  readonly first: number;
  readonly last: number;
  readonly peer: To;
}

const inward = (group: number): readonly BenchRule[] =>
  Array.from({ length: 12 }, (_, n): BenchRule => {
    if (n % 3 === 0)
      return { protocol: "tcp", first: 1000 + group * 20 + n, last: 1000 + group * 20 + n, peer: undefined };
    if (n % 3 === 1)
      return { protocol: "tcp", first: 2000 + n, last: 2001 + n + group, peer: { group: (group + n) % GROUPS } };
    return { protocol: "udp", first: 3000 + n, last: 3000 + n, peer: { prefix: `10.${group}.${n}.0/24` } };
  });

/** The last one lets the measured flow out. */
const outward = (group: number): readonly BenchRule[] =>
  Array.from({ length: 8 }, (_, n): BenchRule => {
    if (n === 7) return { protocol: "udp", first: 1, last: 65_535, peer: { prefix: "198.51.100.0/24" } };
    if (n % 2 === 0)
      return { protocol: "tcp", first: 4000 + group * 10 + n, last: 4000 + group * 10 + n, peer: undefined };
    return { protocol: "udp", first: 5000 + n, last: 5000 + n, peer: { group: (group + n) % GROUPS } };
  });

export const groupOf = (guest: number): string => `g${guest % GROUPS}`;

function ruleText({ protocol, first, last, peer }: BenchRule, word: "from" | "to"): string {
  const other =
    peer === undefined ? "any" : "group" in peer ? `{ group: g${peer.group} }` : `{ prefix: ${peer.prefix} }`;
  return `{ protocol: ${protocol}, ports: [${first === last ? first : `${first}-${last}`}], ${word}: ${other} }`;
}

export const groupsText: string = Array.from({ length: GROUPS }, (_, group) => {
  const [ingress, egress] = [
    inward(group).map((rule) => ruleText(rule, "from")),
    outward(group).map((rule) => ruleText(rule, "to")),
  ];
  return `---\nkind: group\nname: g${group}\nspec: { ingress: [ ${ingress.join(", ")} ], egress: [ ${egress.join(", ")} ] }\n`;
}).join("");

function nftRule({ protocol, first, last, peer }: BenchRule, end: "saddr" | "daddr"): string {
  const other = peer === undefined ? "" : `ip ${end} ${"group" in peer ? `@g${peer.group}` : peer.prefix} `;
  return `\t\t${other}${protocol} dport ${first === last ? first : `${first}-${last}`} accept\n`;
}

/**
 * The same policy as others write it (such as the iptables driver of OpenStack): two chains for each guest with its groups' rules one after the other behind
 * what is established, and one list of jumps by address for all; groups as peers are sets of addresses.
 */
export function chainsText(addresses: readonly string[]): string {
  const members = Array.from({ length: GROUPS }, (_, group) =>
    addresses.filter((_, guest) => guest % GROUPS === group),
  );
  const sets = members.map(
    (all, group) =>
      `\tset g${group} { type ipv4_addr;${all.length === 0 ? "" : ` elements = { ${all.join(", ")} }`} }\n`,
  );
  const chains = addresses.map((_, guest) => {
    const head = "\t\tct state established,related accept\n";
    const out = outward(guest % GROUPS).map((rule) => nftRule(rule, "daddr"));
    const into = inward(guest % GROUPS).map((rule) => nftRule(rule, "saddr"));
    return `\tchain out${guest} {\n${head}${out.join("")}\t\tdrop\n\t}\n\tchain in${guest} {\n${head}${into.join("")}\t\tdrop\n\t}\n`;
  });
  const jumps = addresses.map(
    (address, guest) => `\t\tip saddr ${address} jump out${guest}\n\t\tip daddr ${address} jump in${guest}\n`,
  );
  const forward = `\tchain forward {\n\t\ttype filter hook forward priority 0; policy accept;\n${jumps.join("")}\t}\n`;
  return `table inet peer {\n${sets.join("")}${chains.join("")}${forward}}\n`;
}
