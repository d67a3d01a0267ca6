/** What is shown can be applied again: writing and reading a site undo each other. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { toDocument } from "./document.ts";
import { loadSite } from "./load.ts";

const name = fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?$/);
const octet = fc.integer({ min: 2, max: 254 });
const address = octet.map((last) => `10.0.0.${last}`);
const prefix = fc.integer({ min: 8, max: 24 }).map((length) => `10.0.0.0/${length}`);
const optional = <T>(key: string, value: fc.Arbitrary<T>) => fc.record({ [key]: value }, { requiredKeys: [] });
const merged = (...parts: readonly fc.Arbitrary<object>[]): fc.Arbitrary<object> =>
  fc.tuple(...parts).map((objects) => Object.assign({}, ...objects));

const managed = merged(
  fc.record({ kind: fc.constant("managed") }),
  fc.record(
    {
      leaseSeconds: fc.integer({ min: 10, max: 100_000 }),
      macScheme: fc.constantFrom("ip", "random"),
      dns: fc.array(address, { maxLength: 3 }),
      domain: fc.constant("example.net"),
      search: fc.array(fc.constantFrom("example.net", "example.org"), { maxLength: 2 }),
      mtu: fc.integer({ min: 576, max: 9000 }),
      routes: fc.array(fc.record({ to: fc.constant("10.64.0.0/10"), via: address }), { maxLength: 1 }),
    },
    { requiredKeys: [] },
  ),
);
const tell = fc.record(
  {
    dns: fc.array(address, { maxLength: 2 }),
    mtu: fc.integer({ min: 576, max: 9000 }),
    boot: fc.constantFrom({}, { server: "10.0.0.9" }, { file: "ipxe.efi", url: "http://x/y", serverName: "tftp" }),
    options: fc.uniqueArray(
      fc.constantFrom(
        { code: 150, addresses: ["10.0.0.9"], always: true },
        { code: 224, hex: "DE:AD be" },
        { code: 252, text: "a b" },
        { code: 43, options: [{ code: 1, hex: "00" }] },
      ),
    ),
    options6: fc.constantFrom([], [{ code: 22, addresses: ["2001:DB8::1"] }]),
  },
  { requiredKeys: [] },
);
const classes = fc.uniqueArray(
  fc.record({ name, when: fc.constantFrom({ userClass: "iPXE" }, { vendorClass: "PXE", arch: [0, 7] }), tell }),
  { maxLength: 2, selector: (one) => one.name },
);
/** Nobody tells these guests anything. */
const unmanaged = merged(
  fc.constantFrom({ kind: "mac" }, { kind: "mac", macScheme: "net" }, { kind: "static" }),
  optional("dns", fc.array(address, { maxLength: 3 })),
);
const addressing = fc.oneof(merged(managed, optional("classes", classes)), unmanaged);
/** What a routed network cannot say besides. */
const routed = merged(
  fc.record({
    prefix4: prefix,
    gateway4: fc.constant("10.0.0.1"),
    wiring: fc.constantFrom(
      { kind: "routed", uplink: "eth0", gives: "address" },
      { kind: "routed", uplink: "eth0", gives: "prefix" },
      { kind: "brouted", bridge: "br0" },
    ),
  }),
  optional("connections", fc.integer({ min: 1, max: 1_000_000 })),
);
const transport = merged(
  fc.record({
    prefix4: prefix,
    wiring: fc.constantFrom(
      { kind: "transport", uplink: "eth0", link4: 30 },
      { kind: "transport", uplink: "eth0", link4: 31 },
    ),
  }),
  optional("prefix6", fc.constant("2001:DB8::/64")),
);
const bridged = merged(
  fc.record({
    prefix4: prefix,
    gateway4: fc.constant("10.0.0.1"),
    wiring: fc.constantFrom({ kind: "bridged", bridge: "br0" }, { kind: "bridged", bridge: "br0", uplink: "eth0" }),
  }),
  optional("addressing", addressing),
  optional(
    "range4",
    fc.tuple(octet, octet).map(([a, b]) => [`10.0.0.${Math.min(a, b)}-10.0.0.${Math.max(a, b)}`]),
  ),
  optional("groups", fc.uniqueArray(name, { maxLength: 2 })),
  optional("connections", fc.integer({ min: 1, max: 1_000_000 })),
  optional("gatewayMac", fc.constant("02:00:00:00:00:FE")),
);
const network = fc.oneof(bridged, routed, transport);
const peer = fc.oneof(fc.constantFrom("any", "network"), fc.record({ group: name }), fc.record({ prefix }));
const peer6 = fc.oneof(fc.constantFrom("any", "network"), fc.record({ prefix: fc.constant("2001:DB8::/32") }));
const ruleWith = (key: "from" | "to") =>
  fc.oneof(
    fc.record(
      {
        protocol: fc.constantFrom<string | number>("tcp", 17),
        ports: fc.uniqueArray(fc.constantFrom(80, "443", "8000-8100"), { minLength: 1, maxLength: 3 }),
        [key]: fc.oneof(peer, peer6),
      },
      { requiredKeys: ["protocol", key] },
    ),
    fc.record({ protocol: fc.constantFrom<string | number>("any", 89, "132"), [key]: fc.oneof(peer, peer6) }),
    fc.record({ protocol: fc.constant("icmp"), type: fc.constantFrom(8, "13", "echo-request"), [key]: peer }),
    fc.record({ protocol: fc.constant(58), type: fc.constant(128), code: fc.constantFrom(0, 255), [key]: peer6 }),
    fc.record({ protocol: fc.constant("1"), [key]: peer }),
  );
const rulesWith = (key: "from" | "to") =>
  fc.uniqueArray(ruleWith(key), { maxLength: 4, selector: (rule) => String(rule["protocol"]) });
const group = fc.record({ ingress: rulesWith("from"), egress: rulesWith("to") }, { requiredKeys: [] });
const nic = merged(
  fc.record({ network: name }),
  optional("mac", fc.constantFrom("02:00:00:00:00:01", "02-00-00-00-00-0A")),
  optional("address4", address),
  optional("groups", fc.uniqueArray(name, { maxLength: 2 })),
  optional("connections", fc.integer({ min: 1, max: 1_000_000 })),
  optional("tell", tell),
);
const guest = merged(
  fc.record({ nics: fc.array(nic, { minLength: 1, maxLength: 3 }) }),
  optional("hostname", fc.constant("Web-1")),
);

const document = fc.oneof(
  fc.record({ kind: fc.constant("network"), name, spec: network }),
  fc.record({ kind: fc.constant("group"), name, spec: group }),
  fc.record({ kind: fc.constant("guest"), name, spec: guest }),
);

test("any site, written back and read again, is the same site", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(document, { minLength: 1, maxLength: 6, selector: ({ kind, name }) => `${kind}/${name}` }),
      (documents) => {
        const resources = loadSite(JSON.stringify(documents), "a.json");
        expect(resources).toHaveLength(documents.length);
        expect(loadSite(JSON.stringify(resources.map(toDocument)), "b.json")).toEqual(resources);
      },
    ),
  );
});
