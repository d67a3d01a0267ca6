/** The matrix says what the judge of single flows says, and puts NICs together only where nothing tells them apart. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadSite } from "../config/load.ts";
import { isIpv6 } from "../model/ip-block.ts";
import type { MatrixView } from "../model/operations.ts";
import type { FlowService } from "./policy.ts";
import { judgeFlow, nicEnd } from "./policy-flow.ts";
import { OTHERS, policyMatrix } from "./policy-matrix.ts";
import { type Member, type Members, mainAddresses, siteMembers } from "./policy-members.ts";
import { freshSite } from "./site.ts";

const lan = (name = "lan0", octet = 0, more = ""): string =>
  `{ kind: network, name: ${name}, spec: { prefix4: 10.0.${octet}.0/24, gateway4: 10.0.${octet}.1, range4: [10.0.${octet}.10-10.0.${octet}.99]${more},
    wiring: { kind: bridged, bridge: br${octet} }, addressing: { kind: managed, macScheme: ip } } }`;
const group = (name: string, spec: object): string => JSON.stringify({ kind: "group", name, spec });
const guest = (name: string, groups: readonly string[], more = "", network = "lan0"): string =>
  `{ kind: guest, name: ${name}, spec: { nics: [{ network: ${network}, groups: [${groups.join(", ")}]${more} }] } }`;
const site = (...documents: readonly string[]): Members =>
  siteMembers(freshSite(loadSite(documents.join("\n---\n"), "site.yaml"), (count) => new Uint8Array(count)));

const cell = ({ cells }: MatrixView, from: string, to: string): string =>
  cells.find((one) => one.from === from && one.to === to)?.services.join("; ") ?? "-";
const names = ({ classes }: MatrixView): readonly string[] => classes.map(({ name }) => name);

describe("a small site", () => {
  const small = site(
    lan("lan0", 0, ', prefix6: "2001:db8::/64"'),
    lan("lan1", 1),
    group("web", {
      ingress: [
        { protocol: "tcp", ports: [80, 443], from: "any" },
        { protocol: "tcp", ports: ["440-450", 22], from: { group: "admin" } },
        { protocol: "udp", ports: [161], from: { prefix: "10.0.0.0/24" } },
        { protocol: "icmp", from: "network" },
      ],
    }),
    group("admin", {
      egress: [
        { protocol: "tcp", to: { group: "web" } },
        { protocol: "icmpv6", to: "any" },
      ],
    }),
    group("open", { ingress: [{ protocol: "any", from: "any" }] }),
    guest("web1", ["web"]),
    guest("admin1", ["admin"]),
    guest("open1", ["open"], "", "lan1"),
  );

  test("has a row for every NIC, and one for everybody else", () => {
    const matrix = policyMatrix(small, {});
    expect(matrix.classes).toEqual([
      { name: "web1/0", network: "lan0", groups: ["web"], nics: ["web1/0"] },
      { name: "admin1/0", network: "lan0", groups: ["admin"], nics: ["admin1/0"] },
      { name: "open1/0", network: "lan1", groups: ["open"], nics: ["open1/0"] },
      { name: OTHERS, groups: [], nics: [] },
    ]);
    const rows = names(matrix).map((from) => names(matrix).map((to) => cell(matrix, from, to)));
    expect(rows).toEqual([
      ["-", "-", "everything", "everything"],
      ["tcp 22, 80, 440-450", "-", "-", "icmpv6"],
      ["tcp 80, 443", "-", "-", "everything"],
      ["tcp 80, 443; udp 161 from 10.0.0.0/24; icmp from the own network", "-", "everything", "-"],
    ]);
  });

  test("may be asked of one network", () => {
    expect(names(policyMatrix(small, { network: "lan1" }))).toEqual(["open1/0", OTHERS]);
    expect(() => policyMatrix(small, { network: "lan2" })).toThrow(/network 'lan2' does not exist/);
    expect(policyMatrix(site(lan()), {})).toEqual({ classes: [{ name: OTHERS, groups: [], nics: [] }], cells: [] });
  });

  test("says which family a rule leaves out", () => {
    const dual = site(
      lan("lan0", 0, ', prefix6: "2001:db8::/64"'),
      group("four", {
        ingress: [
          { protocol: "tcp", from: { prefix: "10.0.0.0/8" } },
          { protocol: "icmp", from: "any" },
        ],
      }),
      guest("a", []),
      guest("b", ["four"]),
    );
    expect(cell(policyMatrix(dual, {}), "a/0", "b/0")).toBe("tcp (IPv4 only); icmp");
  });
});

describe("many NICs", () => {
  const many = (count: number, more: readonly string[] = []): Members =>
    site(
      lan(),
      group("web", {
        ingress: [
          { protocol: "tcp", ports: [80], from: "any" },
          { protocol: "udp", from: { group: "web" } },
        ],
      }),
      group("odd", { ingress: [{ protocol: "tcp", ports: [22], from: { prefix: "10.0.0.20/32" } }] }),
      ...Array.from({ length: count }, (_, n) => guest(`w${n}`, ["web"])),
      ...more,
    );

  test("that no rule tells apart stand together", () => {
    const matrix = policyMatrix(many(14, [guest("x", ["odd"])]), {});
    // 10.0.0.20 is one that a rule names.
    expect(names(matrix)).toEqual(["w0/0 +12", "w10/0", "x/0", OTHERS]);
    expect(matrix.classes[0]?.nics).toHaveLength(13);
    expect(cell(matrix, "w0/0 +12", "w0/0 +12")).toBe("tcp 80; udp");
    expect([cell(matrix, "w10/0", "x/0"), cell(matrix, "w0/0 +12", "x/0")]).toEqual(["tcp 22", "-"]);
    expect(names(policyMatrix(many(12), {}))).toHaveLength(13);
  });

  test("beyond what anybody could read are refused, with what to do", () => {
    const groups = Array.from({ length: 129 }, (_, n) => group(`g${n}`, {}));
    const guests = groups.map((_, n) => guest(`u${n}`, [`g${n}`], `, address4: 10.0.0.${n + 100}`));
    expect(() => policyMatrix(site(lan(), ...groups, ...guests), {})).toThrow(/129 different policies/);
    expect(policyMatrix(site(lan(), ...groups, ...guests.slice(1)), {}).classes).toHaveLength(129);
  });
});

const groupNames = ["a", "b", "c"] as const;
const peer = fc.constantFrom<unknown>(
  "any",
  "network",
  { group: "a" },
  { group: "b" },
  { prefix: "10.0.0.8/29" },
  { prefix: "2001:db8::/32" },
);
const service = fc.constantFrom<object>(
  { protocol: "any" },
  { protocol: "tcp" },
  { protocol: "tcp", ports: [80, "85-90"] },
  { protocol: "tcp", ports: ["88-99"] },
  { protocol: "udp", ports: [53] },
  { protocol: 47 },
);
const rules = (word: "from" | "to") =>
  fc.uniqueArray(
    fc.tuple(service, peer).map(([what, who]) => ({ ...what, [word]: who })),
    { maxLength: 3, selector: (one) => JSON.stringify(one) },
  );
const spec = fc.oneof(
  fc.record({ ingress: rules("from") }),
  fc.record({ ingress: rules("from"), egress: rules("to") }),
);
const flows: readonly FlowService[] = [80, 85, 88, 91, 100]
  .map((port): FlowService => ({ kind: "tcp", port }))
  .concat([
    { kind: "udp", port: 53 },
    { kind: "udp", port: 54 },
    { kind: "protocol", number: 47 },
  ]);

/** Whether a text such as `tcp 80, 85-90 (IPv4 only)` means the flow. */
function means(text: string, flow: FlowService, family: string): boolean {
  const [, what = "", only = family] = /^(.*?)(?: \((\S+) only\))?$/.exec(text) ?? [];
  if (only !== family) return false;
  if (what === "everything") return true;
  const [kind = "", ...ports] = what.split(/,? /);
  if (kind === "protocol") return flow.kind === "protocol" && String(flow.number) === ports[0];
  if (flow.kind !== kind || !("port" in flow)) return false;
  const isIn = (range: string): boolean => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return first <= flow.port && flow.port <= last;
  };
  return ports.length === 0 || ports.some(isIn);
}

const seen = { allowed: 0, dropped: 0, shared: 0 };

/** Every flow of the list from one NIC to another, family by family: as it is judged, and as the cell says. */
function compare(members: Members, from: Member, to: Member, services: readonly string[]): void {
  for (const [n, address] of mainAddresses(from).entries()) {
    const other = mainAddresses(to)[n];
    if (other === undefined) continue;
    const ends = { from: nicEnd(members, from, address), to: nicEnd(members, to, other) };
    const judged = flows.map((service) => {
      const { egress, ingress } = judgeFlow(members, { ...ends, service });
      return egress.kind === "allowed" && ingress.kind === "allowed";
    });
    const family = isIpv6(address) ? "IPv6" : "IPv4";
    const said = flows.map((flow) => services.some((text) => means(text, flow, family)));
    expect(said, `${from.name} > ${to.name} ${family}: ${services.join("; ")}`).toEqual(judged);
    seen.allowed += judged.filter(Boolean).length;
    seen.dropped += judged.filter((one) => !one).length;
  }
}

test("every cell means what the judge of single flows allows, whoever of the class is asked", () => {
  const carried = fc.array(fc.subarray([...groupNames]), { minLength: 10, maxLength: 20 });
  fc.assert(
    fc.property(fc.tuple(spec, spec, spec), carried, (specs, groups) => {
      const members = site(
        lan("lan0", 0, ', prefix6: "2001:db8::/64"'),
        ...groupNames.map((name, n) => group(name, specs[n] ?? {})),
        ...groups.map((own, n) => guest(`g${n}`, own)),
      );
      const matrix = policyMatrix(members, {});
      const classes = new Map(matrix.classes.flatMap(({ name, nics }) => nics.map((nic) => [nic, name] as const)));
      const cells = new Map(matrix.cells.map(({ from, to, services }) => [`${from}>${to}`, services]));
      const pairs = members.all.slice(0, 6).flatMap((a) => members.all.slice(-6).map((b) => [a, b] as const));
      for (const [a, b] of pairs.filter(([one, other]) => one !== other)) {
        const [from, to] = [classes.get(a.name), classes.get(b.name)];
        if (from === to) seen.shared += 1;
        compare(members, a, b, cells.get(`${from}>${to}`) ?? []);
      }
    }),
    { numRuns: 60 },
  );
  expect(Math.min(seen.allowed, seen.dropped), "control").toBeGreaterThan(1000);
  expect(seen.shared, "control: NICs stood together").toBeGreaterThan(10);
});
