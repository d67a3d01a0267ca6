/** What platforms have, as a site file that the site's own reader takes. */
import { describe, expect, test } from "vitest";
import { loadSite } from "../config/load.ts";
import { GuardError } from "../model/errors.ts";
import { importedSite, libvirtGuest, type WireMap, xenGuest } from "./import.ts";
import { parseXenConfig } from "./xen-config.ts";

const lan0: WireMap = {
  named: new Map([
    ["xenbr1", "dmz"],
    ["virbr0", ""],
  ]),
  otherwise: "lan0",
};
const config = `# name = "comment"
name = "Web_1"   # the "name"
kernel = "/boot/vmlinuz"
vif = [
  'mac=00:16:3e:01:02:03,bridge=xenbr0,ip=203.0.113.50 203.0.113.51,script=vif-vifguard', # 'first'
  "mac=00:16:3e:01:02:04,bridge=xenbr1",
  'bridge=virbr0',
  '',
]
disk = [ 'phy:/dev/vg/x,xvda,w' ]
`;
const domain = `<domain type='kvm'><name>db1</name><devices>
<interface type='bridge'><mac address='52:54:00:75:00:0a'/><source bridge='br0'/><filterref filter='clean-traffic'><parameter name='IP' value='203.0.113.60'/><parameter name='IPV6' value='2001:db8:66::60'/></filterref></interface>
</devices></domain>`;

test("Xen's configuration", () => {
  expect(parseXenConfig(config)).toEqual({
    name: "Web_1",
    vifs: [
      { mac: "00:16:3e:01:02:03", bridge: "xenbr0", addresses: ["203.0.113.50", "203.0.113.51"] },
      { mac: "00:16:3e:01:02:04", bridge: "xenbr1", addresses: [] },
      { mac: undefined, bridge: "virbr0", addresses: [] },
      { mac: undefined, bridge: undefined, addresses: [] },
    ],
  });
  expect(parseXenConfig("vif = []")).toBeUndefined();
});

test("a site file", () => {
  const text = importedSite([xenGuest("web1.cfg", config), libvirtGuest("db1.xml", domain)], lan0);
  expect(text).toBe(`# "Web_1" on the platform
kind: guest
name: "web-1"
spec:
  nics:
    - { network: lan0, mac: "00:16:3e:01:02:03", address4: 203.0.113.50, addresses: ["203.0.113.51"] }
    - { network: dmz, mac: "00:16:3e:01:02:04" }
    - { network: lan0 }
---
kind: guest
name: "db1"
spec:
  nics:
    - { network: lan0, mac: "52:54:00:75:00:0a", address4: 203.0.113.60, addresses: ["2001:db8:66::60"] }
`);
  const [web, db] = loadSite(text, "imported");
  expect(web).toMatchObject({ kind: "guest", name: "web-1", spec: { nics: [{ mac: "00:16:3e:01:02:03" }, {}, {}] } });
  expect(db).toMatchObject({ spec: { nics: [{ address4: "203.0.113.60" }] } });
});

describe("what is wrong is said", () => {
  const nowhere: WireMap = { named: new Map(), otherwise: undefined };
  const found = (mac: string, ip: string) => xenGuest("x.cfg", `name = "x"\nvif = ['mac=${mac},ip=${ip}']`);
  test.each([
    [() => xenGuest("x.cfg", "memory = 1"), "'x.cfg' is not a domain configuration"],
    [() => libvirtGuest("x.xml", "<a/>"), "'x.xml' is not the XML of a domain"],
    [
      () => importedSite([libvirtGuest("x.xml", domain)], nowhere),
      "'x.xml' has a NIC in 'br0': which network is that?",
    ],
    [() => importedSite([found("red", "")], lan0), "MAC 'red'"],
    [() => importedSite([found("02:00:00:00:00:01", "red")], lan0), "address 'red'"],
    [() => importedSite([xenGuest("x.cfg", 'name = "ü"')], lan0), "'ü' cannot name a guest"],
    [
      () => importedSite([xenGuest("a", 'name = "x"'), xenGuest("b", 'name = "X"')], lan0),
      "'a' and 'b' both are guest 'x'",
    ],
  ])("%#", (work, text) => {
    expect(work).toThrow(GuardError);
    expect(work).toThrow(text);
  });
});
