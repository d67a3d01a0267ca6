/** Sites that nobody thought of: a few guests on two networks of one bridge, in groups whose rules are drawn at random. */
import fc from "fast-check";
import { loadSite } from "../../src/config/load.ts";
import type { SiteView } from "../../src/plan/desired.ts";
import { freshSite } from "../../src/plan/site.ts";

export const GUESTS = 5;
const GROUPS = ["a", "b", "c"] as const;

export const network = (name: string, octet: number): object => ({
  kind: "network",
  name,
  spec: {
    prefix4: `10.0.${octet}.0/24`,
    gateway4: `10.0.${octet}.1`,
    range4: [`10.0.${octet}.10-10.0.${octet}.99`],
    prefix6: `2001:db8:${octet}::/64`,
    wiring: { kind: "bridged", bridge: "br0" },
    addressing: { kind: "managed", macScheme: "ip" },
  },
});

export function siteOf(documents: readonly object[]): SiteView {
  const text = documents.map((document) => JSON.stringify(document)).join("\n---\n");
  return freshSite(loadSite(text, "site"), (count) => new Uint8Array(count));
}

const port = fc.constantFrom<string | number>(22, 80, "80-90", "85-95", "1-65535");
const peer = fc.oneof(
  fc.constantFrom("any", "network"),
  fc.constantFrom(...GROUPS).map((group) => ({ group })),
  fc
    .constantFrom("10.0.0.0/16", "10.0.1.0/24", "198.51.100.0/25", "2001:db8::/32", "2001:db8:1::/64")
    .map((prefix) => ({ prefix })),
);
const service = fc.oneof(
  fc.record({ protocol: fc.constantFrom("tcp", "udp"), ports: fc.uniqueArray(port, { minLength: 1, maxLength: 1 }) }),
  fc.constantFrom({ protocol: "tcp" }, { protocol: "any" }, { protocol: 47 }),
);
/** What the operator may write: rules that mean nothing of their own are refused elsewhere. */
const rules = (word: "from" | "to") =>
  fc.uniqueArray(
    fc.tuple(service, peer).map(([one, other]) => ({ ...one, [word]: other })),
    {
      maxLength: 4,
      selector: (rule) => JSON.stringify(rule),
    },
  );
const spec = fc.record({ ingress: rules("from"), egress: rules("to") }, { requiredKeys: ["ingress"] });

/** Guests g0, g1, ...: the first two may share an address, the third has prefixes. */
export const randomSite: fc.Arbitrary<SiteView> = fc
  .record({
    groups: fc.tuple(spec, spec, spec),
    nics: fc.array(fc.subarray([...GROUPS]), { minLength: GUESTS, maxLength: GUESTS }),
    on: fc.array(fc.constantFrom("lan0", "lan1"), { minLength: GUESTS, maxLength: GUESTS }),
    pair: fc.boolean(),
  })
  .map(({ groups, nics, on, pair }) =>
    siteOf([
      network("lan0", 0),
      network("lan1", 1),
      ...GROUPS.map((name, n) => ({ kind: "group", name, spec: groups[n] ?? {} })),
      ...nics.map((own, n) => ({
        kind: "guest",
        name: `g${n}`,
        spec: {
          nics: [
            {
              network: on[n] ?? "lan0",
              groups: own,
              ...(pair && n < 2 ? { allowedPairs: [{ address: "10.0.0.200" }] } : {}),
              ...(n === 2 ? { addresses: ["10.9.0.0/24", "2001:db8:9::/64"] } : {}),
            },
          ],
        },
      })),
    ]),
  );
