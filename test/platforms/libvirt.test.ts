/** The real libvirtd and QEMU: a domain on a bridge is guarded by the hook, survives a restart of libvirtd, and does not start when it cannot be guarded. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Finished } from "../../src/lab/exec.ts";
import { patience } from "../../src/lab/patience.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { eventually, guestAt } from "../support/guarded-lab.ts";
import { hookFile, linkNames, type PlatformLab, raisePlatformLab } from "../support/platform-lab.ts";
import { guestFiles, guestLines, inside } from "./inside.ts";

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

/** libvirtd in its own folders; hooks get nothing of the environment, so what they need stands in /etc/default/vifguard. */
const setUp = (env: Readonly<Record<string, string>>): string => `
mkdir -p /etc/libvirt/hooks/qemu.d /var/lib/libvirt/qemu /var/lib/libvirt/boot
ln -s ${hookFile("libvirt-hook")} /etc/libvirt/hooks/qemu.d/vifguard
cat >/etc/default/vifguard <<'CONF'
${Object.entries(env)
  .map(([name, value]) => `${name}="${value}"`)
  .join("\n")}
CONF
cat >/etc/libvirt/qemu.conf <<'CONF'
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
remember_owner = 0
stdio_handler = "file"
CONF
printf 'listen_tls = 0\\nauth_unix_rw = "none"\\nunix_sock_dir = "/run/libvirt"\\n' >/etc/libvirt/libvirtd.conf
virsh() { command virsh -q -c qemu:///system "$@"; }
start() {
  libvirtd -f /etc/libvirt/libvirtd.conf >>/run/libvirt/log 2>&1 &
  daemon=$!
  for try in $(seq 200); do virsh version >/dev/null 2>&1 && break; sleep 0.1; done
}
stop() { kill $daemon; wait $daemon 2>/dev/null; }
told() { for try in $(seq 600); do grep -q "GUEST: $2" /var/log/libvirt/$1.console 2>/dev/null && break; sleep 0.1; done; }
over() { for try in $(seq 300); do virsh domstate $1 >/dev/null 2>&1 || break; sleep 0.1; done; }
start
`;
const folders = [
  "/etc/libvirt",
  "/etc/default",
  "/var/lib/libvirt",
  "/run/libvirt",
  "/var/log/libvirt",
  "/var/cache/libvirt",
];

interface Domain {
  readonly name: string;
  readonly mac: string;
  readonly guest?: string;
  readonly words?: string;
}

function domainXml({ name, mac, guest, words = "" }: Domain): string {
  const { kernel, initrd } = guestFiles();
  const metadata = guest === undefined ? "" : `<metadata><g:guest xmlns:g="urn:vifguard" name="${guest}"/></metadata>`;
  return `<domain type='qemu'><name>${name}</name>${metadata}<memory unit='MiB'>192</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>${kernel}</kernel><initrd>${initrd}</initrd><cmdline>console=ttyS0 quiet panic=-1 ${words}</cmdline></os>
<features><acpi/></features><on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<interface type='bridge'><mac address='${mac}'/><source bridge='br0'/><model type='virtio'/></interface>
<serial type='file'><source path='/var/log/libvirt/${name}.console'/></serial><memballoon model='none'/></devices></domain>`;
}

function libvirt(script: string, env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  const all = { ...platform.hookEnvironment, ...env };
  return inside(platform, { folders, script: `${setUp(all)}${script}\nstop`, timeoutMs: patience(110_000) });
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
