/**
 * Two judges, one ruleset: the kernel and `explain` must say the same of every frame (contract section 6). Every difference is a defect in one of them;
 * found ones stand in `differential-cases.ts` with a name. VIFGUARD_SEED draws others, VIFGUARD_FRAMES makes it longer.
 */
import { env } from "node:process";
import { afterAll, describe, expect, test } from "vitest";
import { openFrames } from "../../src/kernel/frames-netlink.ts";
import { openLinks } from "../../src/kernel/links-netlink.ts";
import { openNft } from "../../src/kernel/nft-netlink.ts";
import type { AttackContext } from "../../src/lab/attack.ts";
import { patience } from "../../src/lab/patience.ts";
import { LAB_PREFIX6, planLab } from "../../src/lab/topology.ts";
import { parseIpBlock } from "../../src/model/ip-block.ts";
import { ipv4ToBytes } from "../../src/model/ipv4.ts";
import { eui64Address, ipv6ToBytes, linkLocalOf, parseIpv6 } from "../../src/model/ipv6.ts";
import { type MacAddress, macToBytes, parseMac } from "../../src/model/mac.ts";
import { parseInterfaceName } from "../../src/model/names.ts";
import { defaultRates, type Rates } from "../../src/model/rates.ts";
import { reasonFromCode, reasonTable } from "../../src/model/reasons.ts";
import { type IpBlock, uncheckable } from "../../src/model/resources.ts";
import { BROUTED_GATEWAY6, HOST_PORT_MAC } from "../../src/model/wiring.ts";
import { toHex } from "../../src/packet/hex.ts";
import { concatKey, hostU32, type PlacedElement } from "../../src/ruleset/element-bytes.ts";
import {
  type NetworkFacts,
  networkElements,
  type PortBinding,
  portElements,
  type Source,
  suppressElement,
} from "../../src/ruleset/elements.ts";
import { entryChains, guardTable } from "../../src/ruleset/guard.ts";
import { judge, type Ruling } from "../../src/ruleset/judge.ts";
import { logGroups } from "../../src/ruleset/parts.ts";
import { elementsWorld, hostAddresses } from "../../src/ruleset/world.ts";
import { loadOutspoken, openOracle, putElements, teachAfresh, type Verdict } from "../support/differential.ts";
import { isHearable, mutator, seededFrom, seedFrames, shrink } from "../support/hostile-frames.ts";
import { ipBatch, ownNamespace } from "../support/namespace.ts";
import { SEED } from "../support/seed.ts";
import { regressions } from "./differential-cases.ts";

ownNamespace("differ");
const lab = planLab({ name: "differ", guests: 2, nic: "veth" });
const [self, victim] = lab.guests;
if (self === undefined || victim === undefined) throw new TypeError("two guests");
const portNames = ["vif1.0", "vif2.0", "vif3.0", "vif4.0", "vif5.0", "vif6.0", "vif7.0"] as const;
ipBatch([
  "link set lo up",
  "link add br0 type bridge",
  "link set br0 up",
  `address add ${lab.host.address}/24 dev br0`,
  `address add ${lab.host.address6}/64 dev br0 nodad`,
  ...portNames.flatMap((name, n) => [
    `link add ${name} type veth peer name g${n}`,
    // Nothing is to be heard but what the test sends.
    ...[name, `g${n}`].flatMap((end) => [`link set ${end} addrgenmode none`, `link set ${end} up`]),
  ]),
]);
const links = openLinks();
const nft = openNft();
const frames = openFrames();
const oracle = openOracle(frames);
afterAll(() => {
  oracle.close();
  frames.close();
  nft.close();
  links.close();
});

const raise = (what: string): never => {
  throw new TypeError(what);
};
const index = (name: string): number =>
  links.byName(parseInterfaceName(name) ?? raise(name))?.ifindex ?? raise(`no interface ${name}`);
const block = (text: string): IpBlock => parseIpBlock(text) ?? raise(text);
const vrrpMac = parseMac("00:00:5e:00:01:33") ?? raise("mac");
const strangerMac = parseMac("02:aa:bb:cc:dd:ee") ?? raise("mac");

/** So much that no frame of a run is one too many: what is compared is the judgement of one frame. */
const endless: Rates = Object.fromEntries(
  Object.keys(defaultRates).map((name) => [name, { perSecond: 1_000_000_000, burst: 1_000_000_000 }]),
) as Rates;

const ownSources = (mac: MacAddress, address: string): readonly Source[] =>
  [address, linkLocalOf(mac), eui64Address(LAB_PREFIX6, mac)].map((text) => ({ what: block(text), mac }));

const plain: Omit<PortBinding, "ifindex"> = {
  mac: self.mac,
  sources: ownSources(self.mac, self.address),
  network: 0x12345,
  roles: [],
  unchecked: [],
  observed: false,
  rates: endless,
};
/** A port of each kind: strict; with prefixes, a pair, roles and multicast; with every line off that can be; observed; brouted; learning, without a lease and with one of IPv4. */
const bindings: readonly PortBinding[] = [
  { ...plain, ifindex: index("vif1.0") },
  {
    ...plain,
    ifindex: index("vif2.0"),
    network: 0x23456,
    roles: ["dhcp-server", "router"],
    sources: [
      ...plain.sources,
      ...["203.0.113.64/28", "198.51.100.0/24", "2001:db8:77::/64"].map((text) => ({
        what: block(text),
        mac: self.mac,
      })),
      { what: block("203.0.113.201"), mac: vrrpMac, shared: true },
      { what: block("2001:db8:66::201"), mac: vrrpMac, shared: true },
    ],
  },
  { ...plain, ifindex: index("vif3.0"), unchecked: uncheckable },
  { ...plain, ifindex: index("vif4.0"), observed: true },
  { ...plain, ifindex: index("vif5.0"), network: 0x34567, brouter: { ifindex: index("br0"), mac: lab.host.mac } },
  { ...plain, ifindex: index("vif6.0"), learns: true },
  { ...plain, ifindex: index("vif7.0"), learns: true },
];

const gateway6 = parseIpv6("fe80::1") ?? raise("gateway6");
const strict: NetworkFacts = {
  network: 0x12345,
  prefix4: lab.prefix4,
  gateway4: lab.gateway.address,
  gateway6,
  hostServices: [],
  multicast: [],
  members: [...plain.sources, ...ownSources(victim.mac, victim.address)],
  servers: [
    { address: lab.gateway.address },
    { address: lab.neighbour.address, mac: lab.neighbour.mac },
    { address: linkLocalOf(lab.neighbour.mac) },
  ],
};
const open: NetworkFacts = {
  ...strict,
  network: 0x23456,
  gatewayMac: lab.gateway.mac,
  hostServices: [
    { protocol: "udp", ports: [9, 53] },
    { protocol: "icmp", ports: [] },
    { protocol: 47, ports: [] },
  ],
  multicast: ["224.0.0.251", "224.0.0.18", "ff02::fb", "ff05::1:3"].flatMap((text) => {
    const group = block(text);
    return "address" in group ? [group.address] : [];
  }),
};

const brouted: NetworkFacts = {
  ...strict,
  network: 0x34567,
  gatewayMac: HOST_PORT_MAC,
  gateway6: BROUTED_GATEWAY6,
  hostServices: [{ protocol: "icmp", ports: [] }],
  members: strict.members.map((source) => ({ ...source, mac: HOST_PORT_MAC })),
  brouted: { prefix6: LAB_PREFIX6 },
};

/** What ARP and ND had named to the ports before. */
function* learned(): Iterable<PlacedElement> {
  const { gateway, neighbour } = lab;
  const learn = (set: string, ...parts: Uint8Array[]): PlacedElement => ({
    family: "netdev",
    set,
    key: concatKey(...parts),
  });
  yield learn("gateway_macs", hostU32(strict.network), macToBytes(gateway.mac));
  for (const { ifindex } of bindings) {
    const port = hostU32(ifindex);
    for (const [address, mac] of [
      [ipv4ToBytes(neighbour.address), neighbour.mac],
      [ipv4ToBytes(lab.host.address), lab.host.mac],
    ] as const)
      yield learn("resolved4", port, address, macToBytes(mac));
    for (const [address, mac] of [
      [eui64Address(LAB_PREFIX6, neighbour.mac), neighbour.mac],
      [linkLocalOf(neighbour.mac), neighbour.mac],
      [lab.host.address6, lab.host.mac],
    ] as const)
      yield learn("resolved6", port, ipv6ToBytes(address), macToBytes(mac));
  }
}

const taught = [...learned()];
const elements = [
  ...bindings.flatMap(portElements),
  ...[strict, open, brouted].flatMap(networkElements),
  ...taught,
  suppressElement(open.network),
  { family: "netdev", set: "leased4", key: hostU32(index("vif7.0")) } as const,
];
const world = elementsWorld(
  elements,
  hostAddresses([
    { address: lab.host.address, netmask: "255.255.255.0" },
    { address: lab.host.address6, netmask: "" },
    { address: "::1", netmask: "" },
    { address: linkLocalOf(lab.host.mac), netmask: "" },
  ]),
);
await loadOutspoken(nft, portNames, ["vif6.0", "vif7.0"]);
putElements(nft, elements);

type Direction = "from" | "to";

const TAKERS: readonly number[] = [logGroups.dhcp, logGroups.neighbours, logGroups.leases];

function textOf(verdict: Verdict): string {
  if (verdict.kind === "taken") return `taken by group ${verdict.group}`;
  return verdict.kind === "drop" ? `drop ${reasonFromCode(verdict.code) ?? verdict.code}` : verdict.kind;
}

function expected({ verdict, reason, groups, sentBack }: Ruling, binding: PortBinding): string {
  if (sentBack !== undefined) return `taken by group ${logGroups.neighbours}`;
  const taker = groups.find((group) => TAKERS.includes(group));
  if (taker !== undefined) return `taken by group ${taker}`;
  // What an observed port would have dropped is told first, and heard again behind the guard.
  if (reason !== undefined) return binding.observed || verdict === "drop" ? `drop ${reason}` : "accept";
  return verdict === "accept" ? "accept" : "silent";
}

function predict(direction: Direction, binding: PortBinding, frame: Uint8Array): string {
  const ingress = binding.learns === true ? entryChains.learner : entryChains.ingress;
  const entry = direction === "from" ? ingress : entryChains.egress;
  return expected(judge(guardTable, entry, frame, { direction, ifindex: binding.ifindex }, world), binding);
}

/** Where a frame is put so that it passes the port's hook in that direction: the guest's end, or the port itself. */
const linkOf = (direction: Direction, binding: PortBinding): number =>
  direction === "to" ? binding.ifindex : index(`g${bindings.indexOf(binding)}`);

async function ask(
  direction: Direction,
  binding: PortBinding,
  batch: readonly Uint8Array[],
): Promise<readonly string[]> {
  if (direction === "from") teachAfresh(nft, taught);
  return (await oracle.verdicts(linkOf(direction, binding), batch)).map(textOf);
}

const differs =
  (direction: Direction, binding: PortBinding) =>
  async (frame: Uint8Array): Promise<boolean> =>
    (await ask(direction, binding, [frame]))[0] !== predict(direction, binding, frame);

const context: AttackContext = {
  self,
  victim,
  gateway: lab.gateway,
  neighbour: lab.neighbour,
  host: lab.host,
  prefix4: lab.prefix4,
  serial: 7,
};
/** The same lies told by the guest, and by others to the guest. */
const contexts = [
  context,
  { ...context, via: HOST_PORT_MAC, gateway: { ...lab.gateway, mac: HOST_PORT_MAC } },
  { ...context, self: lab.neighbour, neighbour: self },
  { ...context, self: lab.gateway, neighbour: self },
  { ...context, self: victim, victim: self, neighbour: self },
  { ...context, self: lab.neighbour, victim: self, neighbour: self },
];
const words = [
  ...[self, victim, lab.gateway, lab.neighbour, lab.host].flatMap(({ mac, address }) => [
    macToBytes(mac),
    ipv4ToBytes(address),
    ipv6ToBytes(linkLocalOf(mac)),
    ipv6ToBytes(eui64Address(LAB_PREFIX6, mac)),
  ]),
  ...[vrrpMac, strangerMac, HOST_PORT_MAC].map(macToBytes),
  ...[
    "ff02::1",
    "ff02::2",
    "ff02::16",
    "ff02::1:2",
    "ff02::fb",
    "fe80::1",
    BROUTED_GATEWAY6,
    "::",
    "2001:db8:77::9",
    "2001:db8:66::3",
    "2001:db8:66::",
  ].map((text) => ipv6ToBytes(parseIpv6(text) ?? raise(text))),
  ...["203.0.113.70", "203.0.113.201", "224.0.0.251", "224.0.0.22", "255.255.255.255", "0.0.0.0"].map((text) =>
    Uint8Array.from(text.split("."), Number),
  ),
  Uint8Array.of(0x33, 0x33, 0, 0, 0, 1),
  Uint8Array.of(0x33, 0x33, 0, 1, 0, 2),
  Uint8Array.of(1, 0, 0x5e, 0, 0, 0xfb),
  Uint8Array.of(255, 255, 255, 255, 255, 255),
];

const FRAMES = Number(env["VIFGUARD_FRAMES"] ?? 120_000);
const BATCH = 200;

test("every lie and every truth of the lab, on every kind of port, both ways", async () => {
  const seeds = seedFrames(contexts).filter(isHearable);
  expect(seeds.length).toBeGreaterThan(500);
  for (const direction of ["from", "to"] as const) {
    for (const binding of bindings) {
      for (let at = 0; at < seeds.length; at += BATCH) {
        const batch = seeds.slice(at, at + BATCH);
        const kernel = await ask(direction, binding, batch);
        for (const [n, frame] of batch.entries())
          expect(kernel[n], `${direction} port ${bindings.indexOf(binding)}: ${toHex(frame)}`).toBe(
            predict(direction, binding, frame),
          );
      }
    }
  }
});

test("among them are frames for every line that only ports which learn have", () => {
  const learners = bindings.filter(({ learns }) => learns === true);
  const said = new Set(
    seedFrames(contexts).flatMap((frame) =>
      learners.flatMap((binding) => [predict("from", binding, frame), predict("to", binding, frame)]),
    ),
  );
  const wanted = [
    "accept",
    "drop no-lease",
    ...[logGroups.dhcp, logGroups.leases].map((group) => `taken by group ${group}`),
  ];
  expect([...said]).toEqual(expect.arrayContaining(wanted));
});

test(`${FRAMES} frames that nobody thought of (VIFGUARD_SEED=${SEED})`, { timeout: patience(300_000) }, async () => {
  const random = seededFrom(SEED);
  const make = mutator(seedFrames(contexts).filter(isHearable), words, random);
  const tally = new Map<string, number>();
  const wrong: string[] = [];
  for (let done = 0; done < FRAMES && wrong.length < 5; done += BATCH) {
    const direction = random(3) === 0 ? "to" : "from";
    const binding = bindings[random(bindings.length)] ?? raise("no port");
    const batch = Array.from({ length: BATCH }, make).filter(isHearable);
    const kernel = await ask(direction, binding, batch);
    for (const [n, frame] of batch.entries()) {
      const said = kernel[n] ?? "nothing";
      tally.set(said, (tally.get(said) ?? 0) + 1);
      if (said === predict(direction, binding, frame) || !(await differs(direction, binding)(frame))) continue;
      const small = await shrink(frame, differs(direction, binding));
      const [now] = await ask(direction, binding, [small]);
      wrong.push(
        `${direction} port ${bindings.indexOf(binding)}: kernel ${now}, explain ${predict(direction, binding, small)}: ${toHex(small)}`,
      );
      break;
    }
  }
  expect(wrong, [...wrong, `VIFGUARD_SEED=${SEED}`].join("\n")).toEqual([]);
  // A generator that only makes rubbish proves nothing.
  expect(tally.get("accept") ?? 0).toBeGreaterThan(FRAMES / 50);
  const reasons = [...tally.keys()].filter((key) => key.startsWith("drop "));
  expect(reasons.length).toBeGreaterThan(15);
  for (const reason of reasons) expect(Object.keys(reasonTable)).toContain(reason.slice(5));
});

describe("differences that were found once", () => {
  test.each(regressions)("$name", async ({ direction, port, hex, verdict }) => {
    const binding = bindings[port] ?? raise("no port");
    const frame = Uint8Array.from(Buffer.from(hex, "hex"));
    expect(predict(direction, binding, frame)).toBe(verdict);
    expect(await ask(direction, binding, [frame])).toEqual([verdict]);
  });
});
