/**
 * The service policy against itself (I15): on the real kernel, with the whole guard in the way, a packet that opens a flow arrives exactly when the site's rules, read
 * one by one, let it; and so does its answer. Sites and flows are drawn at random; VIFGUARD_SEED draws others, VIFGUARD_SITES makes it longer.
 */
import { env } from "node:process";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { createEnforcer } from "../../src/agent/enforcer.ts";
import { probeCapabilities } from "../../src/kernel/capabilities.ts";
import { openFrames } from "../../src/kernel/frames-netlink.ts";
import { openLinks } from "../../src/kernel/links-netlink.ts";
import { openNft } from "../../src/kernel/nft-netlink.ts";
import { openRoutes } from "../../src/kernel/routes-netlink.ts";
import { openSysctls } from "../../src/kernel/sysctls.ts";
import { checksum, ethernet, ip4, join, macOf, patched, u16, u32, udp } from "../../src/lab/forge.ts";
import { ip6, syn, tcp6, udp6 } from "../../src/lab/forge6.ts";
import { patience } from "../../src/lab/patience.ts";
import { policyShapeOf } from "../../src/model/capabilities.ts";
import { isIpv6, parseIp } from "../../src/model/ip-block.ts";
import { type Ipv4Address, ipv4ToBytes } from "../../src/model/ipv4.ts";
import type { Ipv6Address } from "../../src/model/ipv6.ts";
import type { MacAddress } from "../../src/model/mac.ts";
import { parseInterfaceName, parsePortPrefix } from "../../src/model/names.ts";
import type { Attachment } from "../../src/model/resources.ts";
import { desiredHost, type SiteView } from "../../src/plan/desired.ts";
import { addressEnd, judgeFlow } from "../../src/plan/policy-flow.ts";
import { type Members, siteMembers } from "../../src/plan/policy-members.ts";
import { familiesOf } from "../../src/ruleset/policy-sets.ts";
import { buildSkeleton } from "../../src/ruleset/skeleton.ts";
import { ipBatch, ownNamespace } from "../support/namespace.ts";
import { GUESTS, randomSite } from "../support/policy-sites.ts";
import { SEED } from "../support/seed.ts";

ownNamespace("polidiff");
const ports = Array.from({ length: GUESTS }, (_, n) => `vif${n}.0`);
const gatewayMac = macOf("02:00:00:00:00:01");
ipBatch([
  "link set lo up",
  "link add br0 type bridge",
  "link set br0 addrgenmode none",
  "link set br0 up",
  // The guests' ends, and "uplink" with "lan" behind it for everybody else.
  ...[...ports, "uplink"].flatMap((name, n) => {
    const end = name === "uplink" ? "lan" : `g${n}`;
    return [
      `link add ${name} type veth peer name ${end}`,
      ...[name, end].flatMap((each) => [`link set ${each} addrgenmode none`, `link set ${each} up`]),
    ];
  }),
  "link set uplink master br0",
]);

const links = openLinks();
const nft = openNft();
const frames = openFrames();
afterAll(() => {
  frames.close();
  nft.close();
  links.close();
});
const raise = (what: string): never => {
  throw new TypeError(what);
};
const name = (text: string) => parseInterfaceName(text) ?? raise(text);
const index = (text: string): number => links.byName(name(text))?.ifindex ?? raise(text);

/** Every frame carries a number behind its transport header; what arrives at any end is written down by it. */
await nft.load(`table netdev arrivals {
 set numbers { typeof @th,64,32; size 65536; flags dynamic; }
 chain udp_or_tcp {
  meta l4proto 17 update @numbers { @th,64,32 }
  meta l4proto 6 update @numbers { @th,32,32 }
 }
${[...ports.map((_, n) => `g${n}`), "lan"].map((end) => ` chain at_${end} {\n  type filter hook ingress device "${end}" priority 0; policy drop;\n  jump udp_or_tcp\n }`).join("\n")}
}
`);
const arrivals = { family: "netdev", table: "arrivals", set: "numbers" } as const;
const arrived = (): ReadonlySet<number> =>
  new Set((nft.elements(arrivals) ?? []).map(({ key }) => Buffer.from(key).readUInt32BE(0)));

const enforcer = createEnforcer(
  nft,
  links,
  { routes: openRoutes(), sysctls: openSysctls() },
  buildSkeleton([parsePortPrefix("vif") ?? raise("vif")], familiesOf(policyShapeOf(await probeCapabilities()))),
);
await enforcer.ensureSkeleton();

/** The whole host as an agent would have it, every guest attached. */
async function enforce(site: SiteView): Promise<void> {
  const attachments = ports.map(
    (port, n): Attachment => ({
      port: name(port),
      ifindex: index(port),
      epoch: "now",
      fence: 1,
      guest: [...site.guests.keys()][n] ?? raise(port),
      nic: 0,
      since: 0,
    }),
  );
  const { wish, refused } = desiredHost(site, attachments, { links, families: enforcer.families }, "now");
  expect(refused).toEqual([]);
  const { ports: outcomes } = await enforcer.reconcile(wish, "everything");
  expect(outcomes.flatMap(({ error }) => error ?? [])).toEqual([]);
}

type Address = Ipv4Address | Ipv6Address;
interface Opened {
  readonly from: Address;
  readonly to: Address;
  readonly kind: "tcp" | "udp";
  readonly port: number;
}

/** Behind which end of the bridge an address is, and with which MAC. */
function placeOf(members: Members, address: Address): { readonly end: string; readonly mac: MacAddress } {
  const [holder] = members.holders(address);
  if (holder === undefined) return { end: "lan", mac: gatewayMac };
  const n = Number(holder.guest.slice(1));
  return { end: `g${n}`, mac: members.site.guests.get(holder.guest)?.nics[0]?.mac ?? raise(holder.name) };
}

/** Ports of a flow: those of the opener are the flow's own, so that every one is new. */
function packetOf({ from, to, kind }: Opened, ends: readonly [number, number], number: number): Uint8Array {
  const [source, destination] = ends;
  const payload = Uint8Array.from(u32(number));
  if (isIpv6(from) && isIpv6(to))
    return kind === "udp"
      ? ip6({ from, to, next: 17 }, udp6({ from, to }, source, destination, payload))
      : ip6({ from, to, next: 6 }, tcp6({ from, to }, source, destination, number));
  if (isIpv6(from) || isIpv6(to)) return raise("two families");
  return kind === "udp"
    ? ip4({ from, to, protocol: 17, id: number & 0xffff }, udp(source, destination, payload))
    : ip4({ from, to, protocol: 6, id: number & 0xffff }, tcp4(from, to, syn(source, destination, number)));
}

/** Connection tracking looks at sums (net.netfilter.nf_conntrack_checksum). */
function tcp4(from: Ipv4Address, to: Ipv4Address, segment: Uint8Array): Uint8Array {
  const counted = join(ipv4ToBytes(from), ipv4ToBytes(to), [0, 6], u16(segment.length), segment);
  return patched(segment, 16, u16(checksum(counted)));
}

let serial = 0x1000;
/** Puts a packet on its way. @returns the number it is known by */
function send(members: Members, flow: Opened, ends: readonly [number, number]): number {
  serial += 1;
  const [sender, receiver] = [placeOf(members, flow.from), placeOf(members, flow.to)];
  const type = isIpv6(flow.from) ? 0x86dd : 0x0800;
  const frame = ethernet(receiver.mac, sender.mac, type, packetOf(flow, ends, serial));
  frames.send([{ ifindex: index(sender.end), bytes: frame }]);
  return serial;
}

function isAllowed(members: Members, { from, to, kind, port }: Opened): boolean {
  const ends = { from: addressEnd(members, from, []), to: addressEnd(members, to, []) };
  if (ends.from === undefined || ends.to === undefined) return raise(`${from} ${to}`);
  const { egress, ingress } = judgeFlow(members, { from: ends.from, to: ends.to, service: { kind, port } });
  return egress.kind !== "dropped" && ingress.kind !== "dropped";
}

const BEHIND_A_GUEST: readonly string[] = ["10.9.0.77", "2001:db8:9::5"];
const STRANGERS = ["198.51.100.7", "198.51.100.200", "10.0.1.250", "2001:db8:7::7", "2001:db8:1::77"];
/** One machine each: an address that two NICs share is behind neither of them for sure. */
const soleAddresses = (members: Members): readonly Address[] => [
  ...members.all.flatMap(({ sources }) =>
    sources.flatMap(({ what, shared }) => ("address" in what && shared !== true ? [what.address] : [])),
  ),
  ...[...BEHIND_A_GUEST, ...STRANGERS].flatMap((text) => parseIp(text) ?? []),
];

function flowsOf(
  members: Members,
  asked: readonly (readonly [number, number, Omit<Opened, "from" | "to">])[],
): Opened[] {
  const addresses = soleAddresses(members);
  return asked.flatMap(([a, b, service]) => {
    const [from, to] = [addresses[a % addresses.length], addresses[b % addresses.length]];
    if (from === undefined || to === undefined || isIpv6(from) !== isIpv6(to)) return [];
    const [a0, b0] = [members.holders(from)[0], members.holders(to)[0]];
    // On the link the two ends must differ. Guests reach each other directly within their network only, and learn first what is behind another (dest-mac).
    const isDirect = a0 !== undefined && b0 !== undefined;
    const isElsewhere = a0?.network !== b0?.network || [from, to].some((address) => BEHIND_A_GUEST.includes(address));
    return a0 === b0 || (isDirect && isElsewhere) ? [] : [{ from, to, ...service }];
  });
}

/** Frames over veth arrive within the call that sends them, unless the kernel defers them to its own time. */
async function settled(numbers: readonly number[]): Promise<ReadonlySet<number>> {
  let seen = arrived();
  for (let n = 0; n < 20 && !numbers.every((number) => seen.has(number)); n += 1) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    seen = arrived();
  }
  return seen;
}

const service = fc.record({
  kind: fc.constantFrom("tcp" as const, "udp" as const),
  port: fc.constantFrom(22, 80, 84, 92, 443),
});
const question = fc.tuple(fc.nat(), fc.nat(), service);
const sites = Number(env["VIFGUARD_SITES"] ?? 30);

test(
  `${sites} sites: what opens a flow arrives when the rules allow it, and its answer too (VIFGUARD_SEED=${SEED})`,
  async () => {
    const seen = { allowed: 0, refused: 0 };
    let ephemeral = 40_000;
    await fc.assert(
      fc.asyncProperty(randomSite, fc.array(question, { minLength: 40, maxLength: 40 }), async (site, asked) => {
        const pinned: SiteView = {
          ...site,
          networks: new Map([...site.networks].map(([own, spec]) => [own, { ...spec, gatewayMac }])),
        };
        await enforce(pinned);
        const members = siteMembers(pinned);
        const flows = flowsOf(members, asked);
        const sent = flows.map((flow) => {
          ephemeral = ephemeral === 60_000 ? 40_000 : ephemeral + 1;
          return { flow, own: ephemeral, number: send(members, flow, [ephemeral, flow.port]) };
        });
        const there = await settled(sent.filter(({ flow }) => isAllowed(members, flow)).map(({ number }) => number));
        for (const { flow, number } of sent)
          expect(there.has(number), JSON.stringify(flow)).toBe(isAllowed(members, flow));
        const answers = sent
          .filter(({ flow, number }) => there.has(number) && flow.kind === "udp")
          .map(({ flow, own }) => send(members, { ...flow, from: flow.to, to: flow.from }, [flow.port, own]));
        const back = await settled(answers);
        expect(answers.filter((number) => !back.has(number))).toEqual([]);
        seen.allowed += there.size > 0 ? 1 : 0;
        seen.refused += sent.some(({ number }) => !there.has(number)) ? 1 : 0;
        nft.commit([{ op: "delete-elements", set: arrivals, elements: nft.elements(arrivals) ?? [] }]);
      }),
      { numRuns: sites, seed: SEED, endOnFailure: true },
    );
    expect(Math.min(seen.allowed, seen.refused), "both happen").toBeGreaterThan(sites / 4);
  },
  patience(120_000),
);
