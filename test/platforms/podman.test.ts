/** The real podman with CNI: a container gets a guarded NIC from the plugin alone and behind the plugin "bridge", and does not start when it cannot have one. */
import { dirname } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Finished } from "../../src/lab/exec.ts";
import { eventually, guestAt } from "../support/guarded-lab.ts";
import { hookFile, linkNames, type PlatformLab, raisePlatformLab } from "../support/platform-lab.ts";
import { inside } from "./inside.ts";

let platform: PlatformLab;
beforeAll(async () => {
  platform = await raisePlatformLab("pod", 2, ["vif", "vnet", "veth"]);
});
afterAll(async () => {
  await platform?.lab.down();
});

/** Podman as Debian has it, told to keep to what this machine can do: no systemd, no limits raised, plain copies of layers. */
const setUp = (plugins: readonly object[]): string => `
set -e
mount --make-shared /run/netns
cat >/etc/containers/containers.conf <<'CONF'
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
[network]
network_backend = "cni"
cni_plugin_dirs = ["${dirname(hookFile("vifguard-cni"))}", "/usr/lib/cni"]
network_config_dir = "/etc/cni/net.d"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
CONF
printf '[storage]\\ndriver = "vfs"\\ngraphroot = "/var/lib/containers/storage"\\nrunroot = "/run/containers/storage"\\n' >/etc/containers/storage.conf
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >/etc/containers/policy.json
mkdir -p /etc/cni/net.d
cat >/etc/cni/net.d/50-lan0.conflist <<'CONF'
${JSON.stringify({ cniVersion: "1.0.0", name: "lan0", plugins })}
CONF
image=$(mktemp -d)
mkdir -p $image/bin $image/etc $image/proc $image/sys $image/dev $image/tmp
cp /bin/busybox $image/bin
for name in sh ip ping sleep; do ln -s busybox $image/bin/$name; done
tar -C $image -c . | podman import -q - localhost/small:1 >/dev/null
rm -rf $image
set +e
run() { podman run --rm --cap-add NET_RAW --cap-add NET_ADMIN --network lan0 "$@"; }
`;
const folders = [
  "/var/lib/containers",
  "/run/containers",
  "/etc/containers",
  "/var/lib/cni",
  "/etc/cni",
  "/run/crun",
  "/run/libpod",
  "/run/netns",
];

function podman(plugins: readonly object[], script: string, env: Record<string, string> = {}): Promise<Finished> {
  return inside(platform, { folders, script: setUp(plugins) + script, env });
}

const own = { type: "vifguard-cni", portPrefix: "vnet" };
const tellAll = `sh -c '
  ip -o -4 address show dev eth0; ip link show dev eth0
  ping -c 2 -W 1 203.0.113.1 >/dev/null && echo ping passed || echo ping failed
  ip address add 203.0.113.99/24 dev eth0
  ping -c 2 -W 1 -I 203.0.113.99 203.0.113.1 >/dev/null && echo lie passed || echo lie failed'`;

/** Podman may take a container's network down behind our back, after its command has ended. */
async function expectNothingLeft(): Promise<void> {
  expect(await eventually(async () => (await platform.client.status()).ports.length === 0)).toBe(true);
  const isGone = async (): Promise<boolean> =>
    !(await linkNames(platform.lab, "host")).some((name) => /^v(?:net|eth)/.test(name));
  expect(await eventually(isGone)).toBe(true);
}

test("the plugin alone: the pod's name is the guest's; address, MAC and guard are there when the container starts", async () => {
  const guest = guestAt(platform.lab.topology.guests, 0);
  const done = await podman([own], `run --name guest1 localhost/small:1 ${tellAll}`);
  expect(done.stderr).toBe("");
  expect(done.stdout).toContain(`inet ${guest.address}/24`);
  expect(done.stdout).toContain(`link/ether ${guest.mac}`);
  expect(done.stdout).toContain("ping passed\n");
  expect(done.stdout).toContain("lie failed\n");
  expect(done.status).toBe(0);
  await expectNothingLeft();
});

test("two containers at once, one killed: each has its own, and nothing stays", async () => {
  const script = `
run -d --name guest1 localhost/small:1 sleep 60 >/dev/null
run -d --name guest2 localhost/small:1 sleep 60 >/dev/null
podman exec guest1 ping -c 2 -W 1 203.0.113.11 >/dev/null && echo reaches the other
podman rm -f -t 0 guest1 guest2 >/dev/null`;
  const done = await podman([own], script);
  expect(done).toMatchObject({ status: 0, stdout: "reaches the other\n", stderr: "" });
  await expectNothingLeft();
});

test("behind the plugin bridge, which leaves the addresses to the site", async () => {
  const bridge = { type: "bridge", bridge: "br0", ipam: {} };
  // That plugin names its pairs veth…, so here the agent guards them from birth.
  const done = await podman([bridge, { type: "vifguard-cni" }], `run --name guest1 localhost/small:1 ${tellAll}`);
  expect(done.stderr).toBe("");
  expect(done.stdout).toMatch(/inet 203\.0\.113\.10\/24[\s\S]*ping passed\nlie failed\n/);
  await expectNothingLeft();
});

test("behind the plugin ptp, which must give an address: it is the guest's, or the container does not start", async () => {
  const ptp = (address: string): object => ({
    type: "ptp",
    ipam: { type: "static", addresses: [{ address, gateway: "203.0.113.1" }], routes: [{ dst: "0.0.0.0/0" }] },
  });
  const own = { type: "vifguard-cni" };
  const done = await podman([ptp("203.0.113.10/24"), own], `run --name guest1 localhost/small:1 ${tellAll}`);
  expect(done.stderr).toBe("");
  expect(done.stdout).toMatch(/inet 203\.0\.113\.10\/24[\s\S]*ping passed\nlie failed\n/);
  await expectNothingLeft();
  const foreign = await podman([ptp("203.0.113.77/24"), own], "run --name guest1 localhost/small:1 true");
  expect(foreign.status).toBe(126);
  expect(foreign.stderr).toContain("the plugin before gave 203.0.113.77/24; guest 'guest1' NIC 0 has 203.0.113.10");
  await expectNothingLeft();
});

test.each([
  ["no guest of that name", "run --name nobody localhost/small:1 true", {}, "guest 'nobody' does not exist"],
  ["another address is asked for", "run --name guest1 --ip 203.0.113.50 localhost/small:1 true", {}, "was asked for"],
  [
    "no agent",
    "run --name guest1 localhost/small:1 true",
    { VIFGUARD_SOCKET: "/nonexistent/agent.sock" },
    "no agent at",
  ],
])("%s: the container does not start, and podman says why", async (_, command, env, text) => {
  const done = await podman([{ ...own, capabilities: { ips: true, mac: true } }], `${command}; echo "status $?"`, env);
  expect(done.stdout).toBe("status 126\n");
  expect(done.stderr).toContain(text);
  await expectNothingLeft();
});
