/** The real libvirtd and QEMU: a domain on a bridge is guarded by the hook, survives a restart of libvirtd, and does not start when it cannot be guarded. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Finished } from "../../src/lab/exec.ts";
import { patience } from "../../src/lab/patience.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { eventually, guestAt } from "../support/guarded-lab.ts";
import { hookFile, linkNames, type PlatformLab, raisePlatformLab } from "../support/platform-lab.ts";
import { guestLines, inside } from "./inside.ts";
import { type Domain, domainXml, libvirtFolders, libvirtSetUp } from "./libvirtd.ts";

let platform: PlatformLab;
let one: GuestBox;
let two: GuestBox;
beforeAll(async () => {
  platform = await raisePlatformLab("lvt", 2);
  [one, two] = [guestAt(platform.lab.topology.guests, 0), guestAt(platform.lab.topology.guests, 1)];
});
afterAll(async () => {
  await platform?.lab.down();
});

const setUp = (env: Readonly<Record<string, string>>): string => `${libvirtSetUp({ env })}
told() { for try in $(seq 600); do grep -q "GUEST: $2" /var/log/libvirt/$1.console 2>/dev/null && break; sleep 0.1; done; }
over() { for try in $(seq 300); do virsh domstate $1 >/dev/null 2>&1 || break; sleep 0.1; done; }
`;

function libvirt(script: string, env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  const all = { ...platform.hookEnvironment, ...env };
  return inside(platform, {
    folders: libvirtFolders,
    script: `${setUp(all)}${script}\nstop`,
    timeoutMs: patience(110_000),
  });
}
const create = (domain: Domain): string =>
  `cat >/run/libvirt/${domain.name}.xml <<'XML'\n${domainXml(domain)}\nXML\nvirsh create /run/libvirt/${domain.name}.xml\n`;
const isQuiet = async (): Promise<boolean> => (await platform.client.status()).ports.length === 0;

test("a domain gets its address, speaks, cannot lie, and leaves nothing", async () => {
  const done = await libvirt(`${create({ name: "g1", mac: one.mac })}
virsh domiflist g1
over g1
cat /var/log/libvirt/g1.console`);
  expect(done.stdout, done.stderr).toMatch(/vnet0 +bridge +br0/);
  expect(guestLines(done.stdout)).toEqual(["address 203.0.113.10/24", "ping passed", "lie failed", "done"]);
  expect(await eventually(isQuiet)).toBe(true);
  expect(await linkNames(platform.lab, "host")).not.toContain("vnet0");
});

test("libvirtd restarts, while no agent can be asked: the domain runs on and is reached; a NIC that is plugged in is shut until the watch tells of it", async () => {
  const { lab, client } = platform;
  const neighbour = `ip netns exec ${lab.netns("neighbour")} ping -c 2 -W 1`;
  const plug = `<interface type='bridge'><mac address='${two.mac}'/><source bridge='br0'/><model type='virtio'/></interface>`;
  const done = await libvirt(`${create({ name: "g1", mac: one.mac, words: "stay" })}
told g1 done
${neighbour} ${one.address} >/dev/null; echo "before $?"
cp /etc/default/vifguard /run/libvirt/kept
stop; sed -i 's,^VIFGUARD_SOCKET=.*,VIFGUARD_SOCKET=/nonexistent/agent.sock,' /etc/default/vifguard; start
virsh domstate g1
${neighbour} ${one.address} >/dev/null; echo "after $?"
cp /run/libvirt/kept /etc/default/vifguard
echo "${plug}" >/run/libvirt/nic.xml; virsh attach-device g1 /run/libvirt/nic.xml
$VIFGUARD status | grep -q '^unbound: .*vnet1' && echo plugged in and shut
# What was plugged in before it watched, and then what is plugged in while it does.
${hookFile("libvirt-watch")} & watch=$!
applied() { for try in $(seq 50); do $VIFGUARD status | grep -o "^$1 *applied *guest[12]" && break; sleep 0.1; done; }
applied vnet0; applied vnet1
virsh detach-device g1 /run/libvirt/nic.xml
for try in $(seq 50); do $VIFGUARD status | grep -q '^vnet1' || break; sleep 0.1; done
virsh attach-interface g1 bridge br0 --mac ${two.mac} --model virtio
applied vnet2
virsh detach-interface g1 bridge --mac ${two.mac}
virsh destroy g1
stop
for try in $(seq 50); do kill -0 $watch 2>/dev/null || { echo "watch ended"; break; }; sleep 0.1; done
kill $watch 2>/dev/null`);
  const said = [
    "before 0",
    "running",
    "after 0",
    "plugged in and shut",
    "vnet0  applied  guest1",
    "vnet1  applied  guest2",
    "vnet2  applied  guest2",
    "watch ended",
  ];
  for (const line of said) expect(done.stdout, `${done.stdout}\n${done.stderr}`).toContain(line);
  expect(await eventually(isQuiet)).toBe(true);
  expect(await client.detach("vnet2")).toEqual({ detached: false });
});

test.each([
  [
    "a MAC that is not the guest's",
    { name: "g1", mac: "52:54:00:00:00:01", guest: "guest1" },
    {},
    "MAC 52:54:00:00:00:01 is none of guest 'guest1'",
  ],
  ["no agent", { name: "g1", mac: "52:54:00:00:00:01" }, { VIFGUARD_SOCKET: "/nonexistent/agent.sock" }, "no agent at"],
])("%s: the domain does not start, and virsh says why", async (_, domain, env, text) => {
  const done = await libvirt(`${create(domain)}echo "status $?"\nip link show dev vnet0`, env);
  expect(done.stdout).toContain("status 1\n");
  expect(done.stderr).toContain(text);
  expect(done.stderr).toContain('Device "vnet0" does not exist');
});
