/** The real systemd-nspawn under a real systemd: the override of its unit attaches a container, with users of its own, before its network has a carrier. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, connect } from "../../src/api/client.ts";
import { patience } from "../../src/lab/patience.ts";
import { type Lab, raiseLab } from "../../src/lab/raise.ts";
import { eventually, siteText } from "../support/guarded-lab.ts";
import { linkNames, pings } from "../support/platform-lab.ts";
import { bootSystem, installPackage, newFolder, removeFolder, type System } from "./booted.ts";

let lab: Lab;
let folder: string;
let system: System;
beforeAll(async () => {
  folder = await newFolder();
  lab = await raiseLab({ name: `nsp${process.pid.toString(36)}`, guests: 1, nic: "veth" });
  system = await bootSystem(lab, folder);
  await installPackage(system, "--port-prefix vif --port-prefix ve-");
  await sh(`
mkdir -p /etc/systemd/system/systemd-nspawn@.service.d
ln -s /usr/share/vifguard/systemd/nspawn.conf /etc/systemd/system/systemd-nspawn@.service.d/vifguard.conf
systemctl daemon-reload
systemctl start vifguard
vifguard apply -f - <<'SITE'
${siteText(lab.topology)}SITE`);
}, patience(240_000));
afterAll(async () => {
  await lab?.down();
  await removeFolder(folder);
});

async function sh(text: string): Promise<string> {
  const { status, stdout, stderr } = await system.sh(text);
  if (status !== 0) throw new TypeError(`'${text}' ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}
const client = (): Client => connect(`${system.root}/run/vifguard/agent.sock`);
const isQuiet = async (): Promise<boolean> => (await client().status()).ports.length === 0;

/** Busybox, and an init that tells what it can do in /told, and stays until it is shut down. */
const container = (name: string): Promise<string> =>
  sh(`
root=/var/lib/machines/${name}
mkdir -p $root/bin $root/sbin $root/usr/lib $root/etc $root/proc $root/sys $root/dev $root/tmp $root/run $root/var $root/root
cp /bin/busybox $root/bin
for program in sh ip ping sleep udhcpc awk; do ln -s busybox $root/bin/$program; done
echo ID=small >$root/usr/lib/os-release
install -m 755 ${process.cwd()}/scripts/guest-lease $root/lease
cat >$root/sbin/init <<'INIT'
#!/bin/sh
# SIGRTMIN+3, by which nspawn asks an init to shut down.
trap 'exit 0' 37
exec >/told 2>&1
ip link set host0 up
udhcpc -i host0 -n -q -t 10 -T 1 -s /lease >/dev/null 2>&1 || echo no lease
echo "address $(ip -4 -o address show dev host0 | awk '{ print $4 }')"
ping -c 2 -W 1 203.0.113.1 >/dev/null && echo ping passed || echo ping failed
ip address add 203.0.113.99/24 dev host0
ping -c 2 -W 1 -I 203.0.113.99 203.0.113.1 >/dev/null && echo lie passed || echo lie failed
echo "users $(awk '{ print ($2 > 0) ? "own" : "the machine'"'"'s" }' /proc/self/uid_map)"
echo done
sleep 600 & wait
INIT
chmod 755 $root/sbin/init`);

const start = (name: string) => system.sh(`systemctl start systemd-nspawn@${name}`);
const journal = (name: string): Promise<string> => sh(`journalctl --no-pager -o cat -u systemd-nspawn@${name}`);

test("a container gets its address, speaks, cannot lie, and its stop leaves nothing", async () => {
  await container("guest1");
  const started = await start("guest1");
  expect(started.status, `${started.stderr}${await journal("guest1")}`).toBe(0);
  expect((await client().status()).ports).toMatchObject([{ port: "ve-guest1", guest: "guest1", state: "applied" }]);
  const told = (): Promise<string> => sh("cat /var/lib/machines/guest1/told");
  expect(await eventually(async () => (await told()).endsWith("done\n"), patience(30_000))).toBe(true);
  expect(await told()).toBe("address 203.0.113.10/24\nping passed\nlie failed\nusers own\ndone\n");
  expect(await pings(lab, "neighbour", "203.0.113.10")).toBe(true);
  await sh("systemctl stop systemd-nspawn@guest1");
  expect(await eventually(isQuiet)).toBe(true);
  expect(await linkNames(lab, "host")).not.toContain("ve-guest1");
});

test("started by hand, on a bridge of its own choice: attached by the same command", async () => {
  const hand =
    "systemd-nspawn --quiet --register=no --keep-unit --boot --network-veth -U --kill-signal=SIGKILL -M guest1 -D /var/lib/machines/guest1";
  const said = await sh(`
${hand} >/dev/null 2>&1 </dev/null &
for try in $(seq 100); do [ -e /sys/class/net/ve-guest1 ] && break; sleep 0.1; done
sleep 0.5
vifguard hook nspawn guest1 $! && vifguard status -o json
kill $!; wait $!; true`);
  expect(said).toContain('"ve-guest1"');
  expect(await eventually(isQuiet)).toBe(true);
});

test.each([
  ["nobody", "true", "guest 'nobody' does not exist"],
  ["guest1", "echo VIFGUARD_SOCKET=/nonexistent/agent.sock >>/etc/default/vifguard", "no agent at"],
])(
  "container %s that cannot be guarded (%s): its unit fails, the journal says why, nothing is left",
  async (name, before, why) => {
    await container(name);
    await sh(before);
    expect((await start(name)).status).toBe(1);
    expect(await journal(name)).toContain(why);
    expect((await system.sh(`systemctl is-active systemd-nspawn@${name}`)).stdout).toBe("failed\n");
    expect(await linkNames(lab, "host")).not.toContain(`ve-${name}`);
  },
);
