/** A real guest: Debian's kernel under QEMU's emulator with an initramfs of busybox, klibc's ipconfig and the guest script; NICs are taps in a namespace. */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { env } from "node:process";
import { fileURLToPath } from "node:url";
import { exec, must } from "../../src/lab/exec.ts";

/** Where scripts/prepare.sh puts it. */
const kernel = join(env["VIFGUARD_KERNEL_CACHE"] ?? "/var/cache/vifguard-kernels", "guest");
const script = fileURLToPath(new URL("../../guest/vifguard-net", import.meta.url));

export interface GuestNic {
  readonly mac: string;
  /** What the other end of the wire is reached by, with prefix lengths. */
  readonly addresses: readonly string[];
}

/** Shared libraries of a program, where it has any: Debian has busybox with and without. */
async function librariesOf(program: string): Promise<readonly string[]> {
  const { status, stdout } = await exec(["ldd", program]);
  return status === 0
    ? [...stdout.matchAll(/(\/\S+) \(/g)].flatMap(([, file]) => (file === undefined ? [] : [file]))
    : [];
}

function copyInto(root: string, file: string, to = file): void {
  mkdirSync(join(root, dirname(to)), { recursive: true });
  copyFileSync(file, join(root, to));
}

/** @param init the guest's whole life, in busybox sh; the machine ends with it */
async function makeInitramfs(directory: string, init: string): Promise<string> {
  const root = join(directory, "root");
  for (const folder of ["bin", "proc", "sys", "dev", "run", "modules"])
    mkdirSync(join(root, folder), { recursive: true });
  copyInto(root, "/bin/busybox");
  for (const library of await librariesOf("/bin/busybox")) copyInto(root, library);
  copyInto(root, "/usr/lib/klibc/bin/ipconfig", "/bin/ipconfig");
  // Its interpreter has the digest of the library for a name.
  for (const name of readdirSync("/lib").filter((file) => /^klibc-.*\.so$/.test(file))) copyInto(root, `/lib/${name}`);
  copyInto(root, script, "/bin/vifguard-net");
  cpSync(kernel, join(root, "modules"), { recursive: true, filter: (file) => basename(file) !== "vmlinuz" });
  writeFileSync(
    join(root, "init"),
    `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module"; done </modules/modules
${init}
poweroff -f
`,
  );
  chmodSync(join(root, "init"), 0o755);
  const archive = join(directory, "initramfs");
  await must(["sh", "-c", 'cd "$1" && find . -print0 | cpio -0 --quiet -o -H newc -R 0:0 >"$2"', "sh", root, archive]);
  return archive;
}

async function addWire(netns: string, n: number, { addresses }: GuestNic): Promise<void> {
  const ip = (...words: readonly string[]): Promise<string> => must(["ip", "-n", netns, ...words]);
  await ip("tuntap", "add", `tap${n}`, "mode", "tap");
  await ip("link", "set", `tap${n}`, "up");
  for (const address of addresses)
    await ip("address", "add", address, "dev", `tap${n}`, ...(address.includes(":") ? ["nodad"] : []));
}

const nicWords = (n: number, { mac }: GuestNic): readonly string[] => [
  ...["-netdev", `tap,id=n${n},ifname=tap${n},script=no,downscript=no`],
  ...["-device", `virtio-net-pci,netdev=n${n},mac=${mac},romfile=`],
];

/** 3 to 6 s on two idle cores without KVM. */
const BOOT_MS = 60_000;

export interface Booted {
  readonly status: number;
  /** What it said. */
  readonly console: string;
  /** What QEMU said. */
  readonly stderr: string;
}

export async function bootGuest(
  netns: string,
  nics: readonly GuestNic[],
  cmdline: string,
  init: string,
): Promise<Booted> {
  const directory = mkdtempSync(join(tmpdir(), "vifguard-boot-"));
  try {
    await must(["ip", "netns", "add", netns]);
    for (const [n, nic] of nics.entries()) await addWire(netns, n, nic);
    const machine = ["-accel", "tcg", "-cpu", "max", "-machine", "q35", "-m", "256", "-smp", "1"];
    const bare = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];
    // To a file: of what goes to a pipe that is busy, the emulated port drops characters.
    const console = join(directory, "console");
    const boot = [
      "-serial",
      `file:${console}`,
      "-kernel",
      join(kernel, "vmlinuz"),
      "-initrd",
      await makeInitramfs(directory, init),
    ];
    // A kernel in trouble ends the machine at once.
    const append = ["-append", `console=ttyS0 quiet panic=-1 oops=panic ${cmdline}`];
    const argv = [
      "qemu-system-x86_64",
      ...machine,
      ...bare,
      ...boot,
      ...append,
      ...nics.flatMap((nic, n) => nicWords(n, nic)),
    ];
    const { status, stderr } = await exec(argv, { netns, timeoutMs: BOOT_MS });
    return { status, stderr, console: readFileSync(console, "utf8").replaceAll("\r", "") };
  } finally {
    await exec(["ip", "netns", "del", netns]);
    rmSync(directory, { recursive: true, force: true });
  }
}
