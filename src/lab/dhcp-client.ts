/** Real DHCP clients inside the guests, with a script of ours that sets the address there and touches nothing else (no resolv.conf, no hostname). */
import { chmod, writeFile } from "node:fs/promises";
import { GuardError } from "../model/errors.ts";
import { type Ipv4Address, parseIpv4 } from "../model/ipv4.ts";
import { unreachable } from "../model/never.ts";
import type { Lab } from "./raise.ts";
import type { Box } from "./topology.ts";

export type DhcpClient = "udhcpc" | "dhclient" | "dhcpcd";

// udhcpc says what happened in $1 and the values in ip, mask, router; dhclient in $reason and new_*.
const SCRIPT = `#!/bin/sh
set -eu
case "\${1:-}\${reason:-}" in
  bound | renew) address=$ip length=$mask gateway=\${router:-} ;;
  BOUND | RENEW | REBIND | REBOOT) interface=$interface address=$new_ip_address mask=$new_subnet_mask gateway=\${new_routers:-} length= ;;
  PREINIT) ip link set "$interface" up; exit 0 ;;
  *) exit 0 ;;
esac
ip -4 address flush dev "$interface"
ip address add "$address/\${length:-$mask}" dev "$interface"
# Option 121 first (RFC 3442): the router option is then not for this client.
if [ -n "\${staticroutes:-}" ]; then
  set -- $staticroutes
  while [ "$#" -ge 2 ]; do
    case $2 in 0.0.0.0) ip route replace "$1" dev "$interface" ;; *) ip route replace "$1" via "$2" dev "$interface" ;; esac
    shift 2
  done
  exit 0
fi
# An address alone has no router on its link but by a route of its own.
if [ "\${mask:-}" = 255.255.255.255 ]; then for router in $gateway; do ip route replace "$router" dev "$interface"; done; fi
for router in $gateway; do ip route replace default via "$router" dev "$interface"; break; done
`;

// dhcpcd sets the address itself and needs no script, but keeps pid and leases where only one eth0 of the machine fits.
// 'ip netns exec' has given us mounts of our own: there it gets empty places instead, and the machine's stay as they are.
const DHCPCD = `#!/bin/sh
set -eu
mount -t tmpfs tmpfs /var/lib/dhcpcd
mount -t tmpfs tmpfs /run
exec dhcpcd "$@"
`;

async function writeScript(lab: Lab, name: string, text: string): Promise<string> {
  const file = `${lab.directory}/${name}`;
  await writeFile(file, text);
  await chmod(file, 0o700);
  return file;
}

async function argvOf(client: DhcpClient, lab: Lab, box: Box): Promise<readonly string[]> {
  const own = `${lab.directory}/${box}`;
  switch (client) {
    case "udhcpc": {
      const script = await writeScript(lab, "dhcp-script", SCRIPT);
      return ["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "8", "-T", "1", "-O", "staticroutes", "-s", script];
    }
    case "dhclient": {
      const files = ["-cf", "/dev/null", "-lf", `${own}.leases`, "-pf", `${own}.pid`];
      const script = await writeScript(lab, "dhcp-script", SCRIPT);
      return ["dhclient", "-4", "-1", "-v", "-sf", script, ...files, "eth0"];
    }
    case "dhcpcd": {
      const program = await writeScript(lab, "dhcpcd", DHCPCD);
      return [program, "-4", "-1", "-B", "-L", "-t", "20", "-f", "/dev/null", "-c", "/bin/true", "eth0"];
    }
    default:
      return unreachable(client);
  }
}

async function addressAt(lab: Lab, box: Box): Promise<Ipv4Address | undefined> {
  const text = await lab.must(box, ["ip", "-4", "-o", "address", "show", "dev", "eth0"]);
  return parseIpv4(/ inet ([\d.]+)\//.exec(text)?.[1] ?? "");
}

/** @returns the address the guest has afterwards @throws COMMAND_FAILED with the client's words when it gets none */
export async function getLease(lab: Lab, box: Box, client: DhcpClient): Promise<Ipv4Address> {
  const done = await lab.exec(box, await argvOf(client, lab, box), { timeoutMs: 30_000 });
  const address = await addressAt(lab, box);
  if (done.status === 0 && address !== undefined) return address;
  throw new GuardError("COMMAND_FAILED", `${client} at ${box} got no lease: ${done.stderr.trim().slice(-1500)}`);
}
