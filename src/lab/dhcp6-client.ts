/** Real DHCPv6 clients inside the guests. They run until the guest has an address and a default route, which come from two protocols, and are ended then. */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError } from "../model/errors.ts";
import { type Ipv6Address, parseIpv6 } from "../model/ipv6.ts";
import { unreachable } from "../model/never.ts";
import { patience } from "./patience.ts";
import type { Lab } from "./raise.ts";
import type { Box } from "./topology.ts";

export const dhcp6Clients = ["dhclient", "dhcpcd", "systemd-networkd"] as const;
export type Dhcp6Client = (typeof dhcp6Clients)[number];

export interface Lease6 {
  readonly address: Ipv6Address;
  /** Of the default route that router advertisements brought. */
  readonly gateway: Ipv6Address;
}

// dhclient sets nothing itself, and starts before duplicate address detection is over: then it cannot send.
const DHCLIENT = `#!/bin/sh
set -eu
case "\${reason:-}" in
  PREINIT6)
    ip link set "$interface" up
    while ip -6 -o address show dev "$interface" tentative | grep -q .; do sleep 0.1; done ;;
  BOUND6 | RENEW6 | REBIND6) ip -6 address replace "$new_ip6_address/128" dev "$interface" ;;
  RELEASE6 | STOP6 | EXPIRE6) ip -6 address delete "$old_ip6_address/128" dev "$interface" ;;
esac
`;

// Both keep their state where only one eth0 of the machine fits; 'ip netns exec' has given us mounts of our own.
const DHCPCD = `#!/bin/sh
set -eu
mount -t tmpfs tmpfs /var/lib/dhcpcd
mount -t tmpfs tmpfs /run
exec dhcpcd -6 -B -L -f /dev/null -c /bin/true eth0
`;

// Without a read-only /sys it waits for udev, which is not there.
const NETWORKD = `#!/bin/sh
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/network
printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=ipv6\\nIPv6AcceptRA=yes\\n' >/run/systemd/network/guest.network
mount -o remount,ro /sys
for program in /usr/lib/systemd/systemd-networkd /lib/systemd/systemd-networkd; do
  if [ -x "$program" ]; then exec "$program"; fi
done
echo "systemd-networkd is not installed" >&2
exit 1
`;

async function writeScript(file: string, text: string): Promise<string> {
  await writeFile(file, text);
  await chmod(file, 0o700);
  return file;
}

async function argvOf(client: Dhcp6Client, lab: Lab, box: Box): Promise<readonly string[]> {
  const own = `${lab.directory}/${box}-dhcp6`;
  await mkdir(own, { recursive: true });
  switch (client) {
    case "dhclient": {
      const script = await writeScript(`${own}/script`, DHCLIENT);
      const files = ["-cf", "/dev/null", "-lf", `${own}/leases`, "-pf", `${own}/pid`];
      return ["dhclient", "-6", "-d", "-v", "-sf", script, ...files, "eth0"];
    }
    case "dhcpcd":
      return [await writeScript(`${own}/dhcpcd`, DHCPCD)];
    case "systemd-networkd":
      return [await writeScript(`${own}/networkd`, NETWORKD)];
    default:
      return unreachable(client);
  }
}

/** As if the guest had just started: no address, no route, and a link that was down. */
async function startAfresh(lab: Lab, box: Box): Promise<void> {
  await lab.must(box, ["ip", "link", "set", "eth0", "down"]);
  await lab.must(box, ["ip", "-6", "address", "flush", "dev", "eth0"]);
  await lab.must(box, ["ip", "link", "set", "eth0", "up"]);
}

async function heldNow(lab: Lab, box: Box): Promise<Lease6 | undefined> {
  const addresses = await lab.must(box, ["ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "global"]);
  const routes = await lab.must(box, ["ip", "-6", "route", "show", "default"]);
  const isReady = !addresses.includes("tentative");
  const address = parseIpv6(/ inet6 ([0-9a-f:]+)\//.exec(addresses)?.[1] ?? "");
  const gateway = parseIpv6(/ via ([0-9a-f:]+) /.exec(routes)?.[1] ?? "");
  return isReady && address !== undefined && gateway !== undefined ? { address, gateway } : undefined;
}

const LEASE_MS = patience(20_000);
const POLL_MS = 100;

/** @returns what the guest has afterwards @throws COMMAND_FAILED when it does not get both */
export async function getLease6(lab: Lab, box: Box, client: Dhcp6Client): Promise<Lease6> {
  await startAfresh(lab, box);
  const running = await lab.start(box, await argvOf(client, lab, box), `${box}-${client}6.log`);
  try {
    const deadline = performance.now() + LEASE_MS;
    for (;;) {
      const held = await heldNow(lab, box);
      if (held !== undefined) return held;
      if (performance.now() > deadline)
        throw new GuardError("COMMAND_FAILED", `${client} at ${box} got no IPv6 address and default route`);
      await sleep(POLL_MS);
    }
  } finally {
    // Asked to end, some take the address away again.
    await running.stop("SIGKILL");
  }
}
