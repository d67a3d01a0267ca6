/** Domains as libvirt 9.0 writes them, and what of them is a guest's. */
import { describe, expect, test } from "vitest";
import { parseDomain } from "./libvirt-domain.ts";
import { parseXml } from "./xml.ts";

/** Given to the hook at "start begin". */
const live = `<domain type='qemu' id='1'>
  <name>g1</name>
  <uuid>4e56166f-e352-4093-8bea-bf2310ff454b</uuid>
  <metadata>
    <other:guest xmlns:other="urn:other" name="nobody"/>
    <vifguard:guest xmlns:vifguard="urn:vifguard" name="web1"/>
  </metadata>
  <description>a &lt;guest&gt; &amp; more &#x41;&#66;</description>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <interface type='bridge'>
      <mac address='52:54:00:75:00:0A'/>
      <source bridge='br0'/>
      <target dev='vnet0'/>
      <model type='virtio'/>
      <filterref filter='clean-traffic'><parameter name='IP' value='10.75.0.50'/><parameter name='X' value='1'/></filterref>
      <alias name='net0'/>
    </interface>
    <interface type='network'><mac address='52:54:00:75:00:0b'/><source network='default'/></interface>
    <interface type='hostdev'><source/></interface>
  </devices>
</domain>
`;

test("a domain", () => {
  expect(parseDomain(live)).toEqual({
    name: "g1",
    driver: "qemu",
    guest: "web1",
    nics: [
      {
        mac: "52:54:00:75:00:0a",
        type: "bridge",
        port: "vnet0",
        bridge: "br0",
        network: undefined,
        addresses: ["10.75.0.50"],
      },
      {
        mac: "52:54:00:75:00:0b",
        type: "network",
        port: undefined,
        bridge: undefined,
        network: "default",
        addresses: [],
      },
    ],
  });
});

describe("XML", () => {
  test("text, entities, CDATA, comments, instructions", () => {
    const root = parseXml(
      "<?xml version='1.0'?>\n<!-- a - b --><a x='1 &quot;2&quot;'>t<b/>&lt;<![CDATA[<&]] >]]></a >\n",
    );
    expect(root).toMatchObject({ name: "a", text: "t<<&]] >", children: [{ name: "b", children: [] }] });
    expect(root?.attributes.get("x")).toBe('1 "2"');
  });
  test.each([
    "",
    "text",
    "<a>",
    "<a></b>",
    "<a/><b/>",
    "<a/>text",
    "<a x=1/>",
    "<a x='1/>",
    "<a b/>",
    "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
    "<a><!-- -- --></a",
    "<a".repeat(10),
    "<a>".repeat(300) + "</a>".repeat(300),
  ])("%j is none", (text) => {
    expect(parseXml(text)).toBeUndefined();
  });
  test("a long text takes a moment only", () => {
    const many = "<i a='b'>text &amp; more</i>".repeat(20_000);
    expect(parseXml(`<a>${many}</a>`)?.children.length).toBe(20_000);
    expect(parseXml(`<a>${"<!-".repeat(50_000)}`)).toBeUndefined();
  });
});

test.each(["<pool><name>x</name></pool>", "<domain/>", "{}"])("%j is no domain", (text) => {
  expect(parseDomain(text)).toBeUndefined();
});
