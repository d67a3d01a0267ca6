/** The real LXC: a container whose network script is vifguard's gets a guarded NIC, and does not start when it cannot. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Finished } from "../../src/lab/exec.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { eventually, guestAt } from "../support/guarded-lab.ts";
import { hookFile, linkNames, type PlatformLab, raisePlatformLab } from "../support/platform-lab.ts";
import { inside } from "./inside.ts";

let platform: PlatformLab;
let one: GuestBox;
beforeAll(async () => {
  platform = await raisePlatformLab("lxc", 2);
  one = guestAt(platform.lab.topology.guests, 0);
});
afterAll(async () => {
  await platform?.lab.down();
});

interface Container {
  readonly name: string;
  readonly hookVersion: 0 | 1;
  readonly env?: Record<string, string>;
}

/** Status of lxc-start on the first line, what the container said behind it. */
function start({ name, hookVersion, env = {} }: Container): Promise<Finished> {
  const script = `
root=/var/lib/lxc/${name}/rootfs
mkdir -p $root/bin $root/proc $root/sys $root/dev $root/tmp
cp /bin/busybox $root/bin
for program in sh ip ping; do ln -s busybox $root/bin/$program; done
cat >/var/lib/lxc/${name}/config <<'CONF'
lxc.uts.name = ${name}
lxc.rootfs.path = dir:/var/lib/lxc/${name}/rootfs
lxc.net.0.type = veth
lxc.net.0.link = br0
lxc.net.0.veth.pair = vif-${name}
lxc.net.0.flags = up
lxc.net.0.name = eth0
lxc.net.0.hwaddr = ${one.mac}
lxc.net.0.ipv4.address = ${one.address}/24
lxc.net.0.script.up = ${hookFile("lxc-net")}
lxc.net.0.script.down = ${hookFile("lxc-net")}
lxc.hook.version = ${hookVersion}
lxc.apparmor.profile = unconfined
lxc.mount.auto = proc:rw sys:ro
lxc.pty.max = 4
CONF
cat >$root/told <<'TELL'
ping -c 2 -W 1 203.0.113.1 >/dev/null && echo ping passed || echo ping failed
ip address add 203.0.113.99/24 dev eth0
ping -c 2 -W 1 -I 203.0.113.99 203.0.113.1 >/dev/null && echo lie passed || echo lie failed
TELL
lxc-start -n ${name} -F -l DEBUG -o /var/lib/lxc/log -- /bin/sh -c 'sh /told >/tmp/says 2>&1' >/dev/null 2>&1
echo "status $?"
cat $root/tmp/says
cat /var/lib/lxc/log >&2`;
  return inside(platform, { folders: ["/var/lib/lxc"], script, env });
}

test.each([0, 1] as const)(
  "hook.version %i: the container speaks, cannot lie, and leaves nothing",
  async (hookVersion) => {
    const done = await start({ name: "guest1", hookVersion });
    expect(done.stdout, done.stderr).toBe("status 0\nping passed\nlie failed\n");
    expect(await eventually(async () => (await platform.client.status()).ports.length === 0)).toBe(true);
    expect(await linkNames(platform.lab, "host")).not.toContain("vif-guest1");
  },
);

test.each([
  ["no guest of its name", { name: "nobody", hookVersion: 1 } as const, "guest 'nobody' does not exist"],
  [
    "no agent",
    { name: "guest1", hookVersion: 1, env: { VIFGUARD_SOCKET: "/nonexistent/agent.sock" } } as const,
    "no agent at",
  ],
])("%s: the container does not start, and the log says why", async (_, container, text) => {
  const done = await start(container);
  expect(done.stdout).toMatch(/^status [1-9]\d*\n$/);
  expect(done.stderr).toContain(text);
  expect(await linkNames(platform.lab, "host")).not.toContain(`vif-${container.name}`);
});
