/** libvirtd in folders of its own, and the domains it is given. */
import { hookFile } from "../support/platform-lab.ts";
import { guestFiles } from "./inside.ts";

export const libvirtFolders = [
  "/etc/libvirt",
  "/etc/default",
  "/var/lib/libvirt",
  "/run/libvirt",
  "/var/log/libvirt",
  "/var/cache/libvirt",
] as const;

export interface LibvirtPlace {
  /** Hooks get nothing of the environment, so what they need stands in /etc/default/vifguard. */
  readonly env: Readonly<Record<string, string>>;
  /** Where it listens, when others are to reach it. */
  readonly sockets?: string;
  /** Two that are to migrate to each other must not take each other for the same host. */
  readonly hostUuid?: string;
}

export const libvirtUri = (sockets: string): string => `qemu:///system?socket=${sockets}/libvirt-sock`;

/** Shell: makes its folders, defines `virsh`, `start` and `stop`, and starts it. */
export function libvirtSetUp({ env, sockets = "/run/libvirt", hostUuid }: LibvirtPlace): string {
  const lines = Object.entries(env).map(([name, value]) => `${name}="${value}"`);
  const daemon = [
    "listen_tls = 0",
    'auth_unix_rw = "none"',
    `unix_sock_dir = "${sockets}"`,
    ...(hostUuid === undefined ? [] : [`host_uuid = "${hostUuid}"`]),
  ];
  return `
mkdir -p /etc/libvirt/hooks/qemu.d /var/lib/libvirt/qemu /var/lib/libvirt/boot ${sockets}
ln -s ${hookFile("libvirt-hook")} /etc/libvirt/hooks/qemu.d/vifguard
cat >/etc/default/vifguard <<'CONF'
${lines.join("\n")}
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
cat >/etc/libvirt/libvirtd.conf <<'CONF'
${daemon.join("\n")}
CONF
virsh() { command virsh -q -c '${libvirtUri(sockets)}' "$@"; }
start() {
  libvirtd -f /etc/libvirt/libvirtd.conf -p ${sockets}/pid >>${sockets}/log 2>&1 &
  daemon=$!
  for try in $(seq 200); do virsh version >/dev/null 2>&1 && break; sleep 0.1; done
}
stop() { kill $daemon; wait $daemon 2>/dev/null; }
start
`;
}

export interface Domain {
  readonly name: string;
  readonly mac: string;
  readonly guest?: string;
  readonly words?: string;
}

export function domainXml({ name, mac, guest, words = "" }: Domain): string {
  const { kernel, initrd } = guestFiles();
  const metadata = guest === undefined ? "" : `<metadata><g:guest xmlns:g="urn:vifguard" name="${guest}"/></metadata>`;
  return `<domain type='qemu'><name>${name}</name>${metadata}<memory unit='MiB'>192</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>${kernel}</kernel><initrd>${initrd}</initrd><cmdline>console=ttyS0 quiet panic=-1 ${words}</cmdline></os>
<features><acpi/></features><on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<interface type='bridge'><mac address='${mac}'/><source bridge='br0'/><model type='virtio'/></interface>
<serial type='file'><source path='/var/log/libvirt/${name}.console'/></serial><memballoon model='none'/></devices></domain>`;
}
