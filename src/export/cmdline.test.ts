/** Words of a kernel command line: what they say, for whom, and what is refused. */
import { describe, expect, test } from "vitest";
import { siteOf, smallSite } from "../../test/support/export-site.ts";
import { loadSite } from "../config/load.ts";
import { type InterfaceName, parseInterfaceName } from "../model/names.ts";
import { bootKinds, type CmdlineWish, cmdlineWords, renderCmdline } from "./cmdline.ts";

const site = siteOf(smallSite);
const words = (wish: CmdlineWish): readonly string[] => cmdlineWords(site, wish);

function nicName(text: string): InterfaceName {
  const name = parseInterfaceName(text);
  if (name === undefined) throw new TypeError(text);
  return name;
}

describe("the words", () => {
  test("of all NICs: the kernel's for the first one, ours for each family of each", () => {
    expect(words({ guest: "web1" })).toEqual([
      "ip=203.0.113.10::203.0.113.1:255.255.255.0:web1:eth0:off:203.0.113.2:203.0.113.3:203.0.113.4",
      "vifguard.eth0=203.0.113.10/24,203.0.113.1",
      "vifguard.eth0=2001:db8:66:0:fc00:cbff:fe00:710a/64,fe80::1",
      "vifguard.eth1=192.0.2.7/31,192.0.2.6",
      "vifguard.eth1=2001:db8:67::7/112",
    ]);
  });

  test("of one NIC, as the guest calls it; nothing is told of DNS where there is none", () => {
    expect(words({ guest: "web1", nic: 1 })).toEqual([
      "ip=192.0.2.7::192.0.2.6:255.255.255.254:web1:eth1:off",
      "vifguard.eth1=192.0.2.7/31,192.0.2.6",
      "vifguard.eth1=2001:db8:67::7/112",
    ]);
    expect(words({ guest: "db", interface: nicName("ens3") })).toContain("vifguard.ens3=203.0.113.11/24,203.0.113.1");
    expect(words({ guest: "10.0.0.5" })[0]).toBe("ip=198.51.100.10::198.51.100.1:255.255.255.128:10.0.0.5:eth0:off");
  });

  test("mean themselves in a shell, in a file of xl, and to a kernel", () => {
    const line = words({ guest: "web1" }).join(" ");
    expect(line).not.toMatch(/['"\\$`;&|<>()]/);
    expect(bootKinds.map((kind) => renderCmdline(words({ guest: "web1" }), kind))).toEqual([
      `${line}\n`,
      `extra = "${line}"\n`,
      `-append '${line}'\n`,
    ]);
  });
});

describe("routed networks", () => {
  const routed = (gives: string): string => `kind: network
name: r
spec:
  prefix4: 192.0.2.0/24
  gateway4: 192.0.2.1
  prefix6: 2001:db8:9::/64
  wiring: { kind: routed, uplink: eth0, gives: ${gives} }
  addressing: { kind: managed, macScheme: ip }
---
kind: guest
name: far
spec: { nics: [{ network: r, address4: 192.0.2.7 }] }
`;

  test("with gives: prefix the words are as on a bridge, and the router of IPv6 is the port", () => {
    expect(cmdlineWords(siteOf(routed("prefix")), { guest: "far" })).toEqual([
      "ip=192.0.2.7::192.0.2.1:255.255.255.0:far:eth0:off",
      "vifguard.eth0=192.0.2.7/24,192.0.2.1",
      expect.stringMatching(/^vifguard\.eth0=2001:db8:9:.*\/64,fe80::1$/),
    ]);
  });

  test("with gives: address there is no word for it", () => {
    expect(() => cmdlineWords(siteOf(routed("address")), { guest: "far" })).toThrow("write 'gives: prefix'");
  });
});

test.each([
  [31, "192.0.2.7", "255.255.255.254", "192.0.2.6"],
  [30, "192.0.2.6", "255.255.255.252", "192.0.2.5"],
])(
  "links of a transport network of /%i have their own mask and gateway, and the twin link of IPv6",
  (link4, address, mask, gateway) => {
    const text = `kind: network
name: t
spec:
  prefix4: 192.0.2.0/24
  prefix6: 2001:db8:9::/64
  wiring: { kind: transport, uplink: eth0, link4: ${link4} }
  addressing: { kind: managed, macScheme: ip }
---
kind: guest
name: far
spec: { nics: [{ network: t, address4: ${address} }] }
`;
    expect(cmdlineWords(siteOf(text), { guest: "far" })).toEqual([
      `ip=${address}::${gateway}:${mask}:far:eth0:off`,
      `vifguard.eth0=${address}/${link4},${gateway}`,
      `vifguard.eth0=2001:db8:9::${link4 === 31 ? 9 : 5}/127,fe80::1`,
    ]);
  },
);

describe("what is refused", () => {
  test.each([
    [{ guest: "nobody" }, "guest 'nobody' does not exist"],
    [{ guest: "web1", nic: 2 }, "guest 'web1' has no NIC 2: it has 2"],
    [{ guest: "web1", interface: nicName("ens3") }, "guest 'web1' has 2 NICs: --interface needs --nic"],
  ])("%j", (wish, says) => {
    expect(() => words(wish)).toThrow(says);
  });

  test("more than a kernel reads; a guest with fewer NICs may have as much as fits (control)", () => {
    const guest = (nics: number): string => {
      const nic = "{ network: lan0 }";
      return `${smallSite}---\nkind: guest\nname: many\nspec: { nics: [${Array.from({ length: nics }, () => nic).join(", ")}] }\n`;
    };
    expect(loadSite(guest(20), "test")).toHaveLength(8);
    expect(cmdlineWords(siteOf(guest(18)), { guest: "many" }).join(" ").length).toBeLessThan(2048);
    expect(() => cmdlineWords(siteOf(guest(22)), { guest: "many" })).toThrow("and a kernel command line has 2047");
  });
});
