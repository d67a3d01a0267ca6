/** The table of fields that the reference page is made from. */
import { expect, test } from "vitest";
import { describeConfig, fieldNames, templateOf } from "./describe.ts";
import { laterFields, laterValues, misplacedFields } from "./schema.ts";

const fields = describeConfig();
const find = (path: string) => fields.find((field) => field.path === path);

test("every field is told in words, once", () => {
  expect(fields.length).toBeGreaterThan(40);
  expect(fields.filter(({ text }) => text === "")).toEqual([]);
  expect(new Set(fields.map(({ path }) => path)).size).toBe(fields.length);
});

test.each([
  ["network.spec.prefix4", "IPv4 prefix", "required"],
  ["network.spec.range4", "list of IPv4 range", "[]"],
  ["network.spec.gatewayMac", "MAC address", "none"],
  ["network.spec.wiring.kind", "bridged | routed | brouted | transport | nat", "required"],
  ["network.spec.addressing", "fields", '{"kind":"managed"}'],
  ["network.spec.addressing.leaseSeconds", "number 10-31536000", "none"],
  ["network.spec.addressing.macScheme", "ip | net | random", "none"],
  ["network.spec.addressing.routes[].via", "IPv4 address", "required"],
  ["group.spec.ingress[].ports", "list of port or range", "none"],
  ["group.spec.ingress[].from", "any | network | {group} | {prefix}", "required"],
  ["group.spec.egress", "list of fields", "none"],
  ["group.spec.egress[].to.prefix", "IPv4 or IPv6 prefix", "none"],
  ["network.spec.connections", "number 1-1000000", "8192"],
  ["guest.spec.nics[].connections", "number 1-1000000", "none"],
  ["guest.spec.nics[].groups", "list of name", "[]"],
])("%s is %s, by default %s", (path, type, value) => {
  expect(find(path)).toMatchObject({ type, default: value });
});

test("the words of later versions are no fields of this one, and their places are", () => {
  for (const path of [...Object.keys(laterFields), ...Object.keys(misplacedFields)]) {
    expect(find(path), path).toBeUndefined();
    expect(fieldNames(path.slice(0, path.lastIndexOf("."))), path).not.toEqual([]);
  }
  for (const path of Object.keys(laterValues)) expect(find(path), path).toBeDefined();
});

test("a place in a document has its line in the table", () => {
  expect(templateOf("guest", ["spec", "nics", 3, "groups", 0])).toBe("guest.spec.nics[].groups[]");
  expect(fieldNames(templateOf("guest", ["spec", "nics", 3]))).toEqual([
    "network",
    "mac",
    "address4",
    "address6",
    "addresses",
    "allowedPairs",
    "roles",
    "unchecked",
    "mode",
    "rates",
    "connections",
    "public4",
    "services",
    "groups",
    "tell",
  ]);
});
