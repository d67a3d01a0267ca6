/**
 * The Debian package on a booted system: installed, used, upgraded, removed and purged, with guests on the host all the while. What the package manager
 * does opens no port and cuts no connection (I7); what is purged is gone.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, connect } from "../../src/api/client.ts";
import { getLease } from "../../src/lab/dhcp-client.ts";
import { attachGuest } from "../../src/lab/guarded.ts";
import { patience } from "../../src/lab/patience.ts";
import { type Lab, raiseLab } from "../../src/lab/raise.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { eventually, guardTables, guestAt, siteText } from "../support/guarded-lab.ts";
import { pings } from "../support/platform-lab.ts";
import { bootSystem, newFolder, removeFolder, type System } from "./booted.ts";

const NEWER = "900.0.0";
const units = ["vifguard-closed.service", "vifguard.service", "vifguard-libvirt.service"];

let lab: Lab;
let folder: string;
let system: System;
let one: GuestBox;
let two: GuestBox;
beforeAll(async () => {
  folder = await newFolder();
  lab = await raiseLab({ name: `deb${process.pid.toString(36)}`, guests: 2, nic: "veth" });
  [one, two] = [guestAt(lab.topology.guests, 0), guestAt(lab.topology.guests, 1)];
  system = await bootSystem(lab, folder);
  // This machine may tell Debian to start nothing that it installs; a host of guests does not.
  await sh("rm -f /usr/sbin/policy-rc.d");
  const build = `cd ${process.cwd()} && mkdir -p /srv/own /srv/newer && scripts/package-deb.sh /srv/own && scripts/package-deb.sh --version ${NEWER} /srv/newer`;
  await sh(build, 120_000);
}, patience(240_000));
afterAll(async () => {
  await lab?.down();
  await removeFolder(folder);
});

/** @throws with everything it said */
async function sh(text: string, timeoutMs?: number): Promise<string> {
  const { status, stdout, stderr } = await system.sh(text, timeoutMs);
  if (status !== 0) throw new TypeError(`'${text}' ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}

const install = (version: "own" | "newer"): Promise<string> => sh(`dpkg -i /srv/${version}/*.deb 2>&1`);
const isActive = async (unit: string): Promise<boolean> =>
  (await system.sh(`systemctl is-active ${unit}`)).status === 0;
const isEnabled = async (unit: string): Promise<boolean> =>
  (await system.sh(`systemctl is-enabled ${unit}`)).stdout === "enabled\n";
const agent = (): LabAgent => ({ socket: `${system.root}/run/vifguard/agent.sock`, stateDirectory: "", log: "" });
const client = (): Client => connect(agent().socket);
/** Without what package managers and systemd keep for themselves. */
const allFiles = (): Promise<string> =>
  sh(
    "find /etc /usr /var /opt /srv -xdev -path /var/tmp -prune -o -path /var/log -prune -o -path /var/cache -prune -o -path /var/lib/dpkg -prune -o -path /var/lib/systemd -prune -o -print | sort",
  );

async function rename(from: string, to: string): Promise<void> {
  await lab.must("host", ["ip", "link", "set", "dev", from, "down"]);
  await lab.must("host", ["ip", "link", "set", "dev", from, "name", to]);
}

/** The command that the package names when it goes. */
const ruleRemoval = (said: string): string => /^vifguard: to remove them now: (.*)$/m.exec(said)?.[1] ?? "false";

let before: string;

test("where guests run already, nothing is shut until the operator says so", async () => {
  before = await allFiles();
  const said = await install("own");
  expect(said).toContain(`guests are running (${one.port} ${two.port})`);
  expect(await isEnabled("vifguard.service")).toBe(false);
  expect(await isActive("vifguard.service")).toBe(false);
  expect(await guardTables(lab)).toEqual([]);
  await sh("systemctl enable --now vifguard-closed vifguard");
  expect((await client().status()).unbound).toEqual([one.port, two.port]);
  expect(await guardTables(lab)).not.toEqual([]);
});

test("purge leaves no file, and says what stays in the kernel and how that goes", async () => {
  const said = await sh("dpkg --purge vifguard 2>&1");
  expect(await allFiles()).toBe(before);
  expect(await sh("systemctl list-unit-files --no-legend 'vifguard*' || true")).toBe("");
  expect(await guardTables(lab)).not.toEqual([]);
  await sh(ruleRemoval(said));
  expect(await guardTables(lab)).toEqual([]);
});

test("on a host without guests it is enabled and answers when dpkg has ended; a port that appears is shut", async () => {
  await rename(one.port, "spare1");
  await rename(two.port, "spare2");
  await install("own");
  for (const unit of ["vifguard-closed.service", "vifguard.service"]) {
    expect(await isEnabled(unit), unit).toBe(true);
    expect(await isActive(unit), unit).toBe(true);
  }
  expect(await isActive("vifguard-libvirt.service")).toBe(false);
  await rename("spare1", one.port);
  await rename("spare2", two.port);
  expect(await eventually(async () => (await client().status()).unbound.length === 2)).toBe(true);
});

test("manual pages, completions and hooks are in place", async () => {
  expect(await sh("man -w vifguard 5 vifguard.yaml 8 vifguard-agent")).toMatch(
    /man1\/vifguard\.1\.gz\n.*man5\/vifguard\.yaml\.5\.gz\n.*man8\/vifguard-agent\.8\.gz\n$/,
  );
  const warnings =
    "for page in 'vifguard 1' 'vifguard.yaml 5' 'vifguard-agent 8'; do set -- $page; man --warnings -E UTF-8 $2 $1 2>&1 >/dev/null; done";
  expect(await sh(warnings)).toBe("");
  expect(
    await sh(
      "bash -c '. /usr/share/bash-completion/completions/vifguard; COMP_WORDS=(vifguard att); COMP_CWORD=1; _vifguard; echo $COMPREPLY'",
    ),
  ).toBe("attach\n");
  expect(await sh("echo '{}' | CNI_COMMAND=VERSION /usr/lib/cni/vifguard-cni")).toContain('"supportedVersions"');
  expect(await sh("test -x /etc/xen/scripts/vif-vifguard && echo yes")).toBe("yes\n");
  expect(await sh("systemctl start systemd-udevd 2>/dev/null; vifguard --version")).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test("the units are sound, and what they may do is little", async () => {
  expect(await sh(`systemd-analyze verify ${units.join(" ")} 2>&1`)).toBe("");
  // systemd's own scale from 0 to 100, and 96 for a unit that says nothing.
  await sh("systemd-analyze security --offline=yes --threshold=25 vifguard.service vifguard-closed.service");
  const pid = (await sh("systemctl show -P MainPID vifguard")).trim();
  const status = await sh(`cat /proc/${pid}/status`);
  // CAP_NET_ADMIN and CAP_NET_RAW.
  expect(status).toMatch(/^CapEff:\t0000000000003000$/m);
  expect(status).toMatch(/^CapBnd:\t0000000000003000$/m);
  expect(status).toMatch(/^NoNewPrivs:\t1$/m);
  expect(status).toMatch(/^Seccomp:\t2$/m);
});

const routed = `---
kind: network
name: routed0
spec:
  prefix4: 198.51.100.0/24
  gateway4: 198.51.100.1
  wiring: { kind: routed, uplink: br0 }
  groups: [open]
---
kind: guest
name: routed1
spec: { nics: [{ network: routed0, address4: 198.51.100.10 }] }
`;

test("under the unit's restrictions the agent does its work: site, DHCP, guard, settings of routed ports", async () => {
  await sh(`cat >/etc/vifguard/site.yaml <<'SITE'\n${siteText(lab.topology)}${routed}SITE\nsystemctl reload vifguard`);
  await attachGuest(lab, agent(), one);
  expect(await getLease(lab, one.box, "udhcpc")).toBe(one.address);
  expect(await pings(lab, one.box, lab.topology.gateway.address)).toBe(true);
  await lab.must(one.box, ["ip", "address", "add", "203.0.113.99/24", "dev", "eth0"]);
  expect(await pings(lab, one.box, lab.topology.gateway.address, "-I", "203.0.113.99")).toBe(false);
  await sh(`vifguard attach ${two.port} --guest routed1`);
  const { conditions, ports } = await client().status();
  expect(conditions).toEqual([]);
  expect(ports.map(({ state }) => state)).toEqual(["applied", "applied"]);
  expect(await lab.must("host", ["cat", `/proc/sys/net/ipv4/conf/${two.port}/forwarding`])).toBe("1\n");
});

test("an upgrade cuts nothing, keeps what the operator wrote, and the new agent has the ports", async () => {
  await sh("echo '# mine' >>/etc/default/vifguard");
  const pid = await sh("systemctl show -P MainPID vifguard");
  const speaking = lab.exec(one.box, ["ping", "-q", "-i", "0.1", "-c", "80", "-W", "1", lab.topology.gateway.address], {
    timeoutMs: 60_000,
  });
  await install("newer");
  expect(await sh("dpkg-query -s vifguard")).toContain(`Version: ${NEWER}\n`);
  expect(await sh("systemctl show -P MainPID vifguard")).not.toBe(pid);
  expect((await speaking).stdout).toContain("80 packets transmitted, 80 received");
  expect((await client().status()).ports.map(({ state }) => state)).toEqual(["applied", "applied"]);
  expect(await sh("tail -n 1 /etc/default/vifguard")).toBe("# mine\n");
});

test("at boot ports are shut before the network comes, and the agent finds what was attached", async () => {
  await sh("sync");
  await system.stop();
  // What a reboot takes with it.
  await lab.must("host", ["nft", "flush", "ruleset"]);
  system = await bootSystem(lab, folder);
  expect(await isActive("vifguard-closed.service")).toBe(true);
  expect(await isActive("vifguard.service")).toBe(false);
  expect(await guardTables(lab)).not.toEqual([]);
  expect(await pings(lab, one.box, lab.topology.gateway.address)).toBe(false);
  const order = await sh("systemctl show -P Before vifguard-closed.service vifguard.service");
  for (const name of ["network-pre.target", "libvirtd.service", "xendomains.service", "machines.target"])
    expect(order.split(/\s/)).toContain(name);
  await sh("systemctl start vifguard");
  const { ports, conditions } = await client().status();
  expect(
    ports.map(({ state }) => state),
    JSON.stringify(conditions),
  ).toEqual(["applied", "applied"]);
  // A guest that starts asks for its gateway; this one ran on, and what it had been answered went with the rules.
  await lab.must(one.box, ["ip", "neigh", "flush", "all"]);
  expect(await pings(lab, one.box, lab.topology.gateway.address)).toBe(true);
});

test("removed: guests go on, lies are stopped and unbound ports stay shut; purged: no file is left", async () => {
  await sh(`vifguard detach ${two.port}`);
  const removed = await sh("dpkg --remove vifguard 2>&1");
  expect((await system.sh("pgrep -f dist/main.js")).status).toBe(1);
  expect(await pings(lab, one.box, lab.topology.gateway.address)).toBe(true);
  expect(await pings(lab, one.box, lab.topology.gateway.address, "-I", "203.0.113.99")).toBe(false);
  await lab.must("host", ["ip", "link", "set", two.port, "master", "br0", "up"]);
  await lab.must(two.box, ["ip", "address", "replace", `${two.address}/24`, "dev", "eth0"]);
  await lab.must(two.box, ["ip", "link", "set", "eth0", "up"]);
  expect(await pings(lab, two.box, lab.topology.gateway.address)).toBe(false);
  expect(await sh("test -e /etc/default/vifguard && ls /var/lib/vifguard")).not.toBe("");
  await sh("dpkg --purge vifguard");
  expect(await allFiles()).toBe(before);
  await sh(ruleRemoval(removed));
  expect(await guardTables(lab)).toEqual([]);
  const reaches = (): Promise<boolean> => pings(lab, two.box, lab.topology.gateway.address);
  expect(await eventually(reaches), "control: without the rules it reaches the gateway").toBe(true);
});

test("the same tree gives the same package", async () => {
  await sh(`cd ${process.cwd()} && mkdir /srv/again && scripts/package-deb.sh /srv/again`, 120_000);
  expect(await sh("cmp /srv/own/*.deb /srv/again/*.deb && echo same")).toBe("same\n");
});
