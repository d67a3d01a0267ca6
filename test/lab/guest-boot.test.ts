/**
 * A guest without DHCP boots with what `vifguard export cmdline` wrote and with a MAC that `macScheme: net` gave, and reaches its gateways: by the
 * shipped script, and by the kernel's `ip=`, which in Debian (no CONFIG_IP_PNP) klibc's ipconfig reads in the initramfs.
 */
import { describe, expect, test } from "vitest";
import { cmdlineWords, renderCmdline } from "../../src/export/cmdline.ts";
import { patience } from "../../src/lab/patience.ts";
import { bootGuest } from "../support/booted-guest.ts";
import { siteOf } from "../support/export-site.ts";

const site = siteOf(`kind: network
name: lan0
spec:
  prefix4: 203.0.113.0/24
  gateway4: 203.0.113.1
  range4: [203.0.113.10-203.0.113.20]
  prefix6: 2001:db8:66::/64
  gateway6: fe80::1
  wiring: { kind: bridged, bridge: br0 }
  addressing: { kind: managed, macScheme: ip, dns: [203.0.113.2, 203.0.113.3], ntp: [203.0.113.4] }
---
kind: network
name: lan1
spec:
  prefix4: 10.64.0.0/17
  gateway4: 10.64.0.1
  range4: [10.64.51.7-10.64.51.9]
  wiring: { kind: bridged, bridge: br1 }
  addressing: { kind: managed, macScheme: net }
---
kind: guest
name: web1
spec: { nics: [{ network: lan0 }, { network: lan1 }] }
`);

const init = `
show() {
  # Duplicate address detection takes the kernel a second.
  while ip -o address show | grep -q tentative; do sleep 0.2; done
  echo "BEGIN $1"
  ip -o address show
  ip route
  ip -6 route show default
  for to in 203.0.113.1 10.64.0.1 2001:db8:66::1; do ping -c 1 -W 4 $to >/dev/null && echo "reached $to"; done
  echo "END $1"
}
show before
vifguard-net cmdline mac
echo "status $?"
show script
ip address flush dev eth0
ip address flush dev eth1
for word in $(cat /proc/cmdline); do case $word in ip=*) ipconfig -c none -t 5 -d "$word" ;; esac; done
cat /run/net-eth0.conf
show kernel
`;

/** What was said between the marks, one blank for many. */
const part = (console: string, name: string): string =>
  (new RegExp(`BEGIN ${name}\n([\\s\\S]*?)END ${name}`).exec(console)?.[1] ?? "").replaceAll(/ +/g, " ");

describe.runIf(process.arch === "x64")("a guest that boots without DHCP", () => {
  test(
    "has the addresses it was told, and only then",
    async () => {
      const [nic0, nic1] = [...site.guests.values()][0]?.nics ?? [];
      expect(nic1?.mac).toBe("f2:01:0a:40:33:07");
      const words = cmdlineWords(site, { guest: "web1", nic: 0 });
      const { status, console, stderr } = await bootGuest(
        `vgt-boot-${process.pid.toString(36)}`,
        [
          { mac: nic0?.mac ?? "", addresses: ["203.0.113.1/24", "2001:db8:66::1/64", "fe80::1/64"] },
          { mac: nic1?.mac ?? "", addresses: ["10.64.0.1/17"] },
        ],
        renderCmdline(words, "kernel").trim(),
        init,
      );
      expect(status, `${stderr}\n${console.slice(-3000)}`).toBe(0);
      expect(part(console, "before"), "control").not.toMatch(/203\.0\.113|reached/);
      expect(part(console, "before"), "control").toContain("Network is unreachable");

      const script = part(console, "script");
      expect(console).toContain("status 0");
      expect(script).toContain("eth0 inet 203.0.113.10/24 brd 203.0.113.255");
      expect(script).toContain("inet6 2001:db8:66:0:fc00:cbff:fe00:710a/64");
      expect(script).toContain("eth1 inet 10.64.51.7/17 brd 10.64.127.255");
      expect(script).toContain("default via 203.0.113.1 dev eth0");
      expect(script).toContain("default via fe80::1 dev eth0");
      for (const to of ["203.0.113.1", "10.64.0.1", "2001:db8:66::1"]) expect(script).toContain(`reached ${to}\n`);

      const kernel = part(console, "kernel");
      expect(kernel).toContain("eth0 inet 203.0.113.10/24");
      expect(kernel).toContain("default via 203.0.113.1 dev eth0");
      expect(kernel).toContain("reached 203.0.113.1\n");
      expect(kernel, "it knows one NIC").not.toContain("10.64.51.7");
      for (const line of ["HOSTNAME='web1'", "IPV4DNS0='203.0.113.2'", "IPV4DNS1='203.0.113.3'"])
        expect(console).toContain(line);
    },
    patience(90_000),
  );
});
