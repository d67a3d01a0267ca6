/** A domain is migrated live between two real libvirtd, each with its agent: where it runs it is reached, its connections go on, and what fails leaves it where it was. */
import { writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Finished } from "../../src/lab/exec.ts";
import { patience } from "../../src/lab/patience.ts";
import type { GuestBox, HostBox } from "../../src/lab/topology.ts";
import { type EtcdHost, type EtcdLab, raiseEtcdLab } from "../support/etcd-lab.ts";
import { eventually, guestAt, pings } from "../support/guarded-lab.ts";
import { longestGap, startPing } from "../support/ping.ts";
import { hookEnvironment, hookFile } from "../support/platform-lab.ts";
import { domainXml, libvirtFolders, libvirtSetUp, libvirtUri } from "./libvirtd.ts";

const helper = resolve(dirname(fileURLToPath(import.meta.url)), "private.sh");
const LONG_MS = 90_000;

let fleet: EtcdLab;
let mover: GuestBox;
const socketsOf = (box: HostBox): string => `${fleet.lab.directory}/lv-${box}`;
const uriOf = (box: HostBox): string => libvirtUri(socketsOf(box));

/** With a name of its own: libvirt migrates to no host of its own name. */
async function startLibvirt({ box, agent }: EtcdHost): Promise<void> {
  const env = hookEnvironment(agent.socket);
  const hostUuid = `4e56166f-e352-4093-8bea-bf2310ff45${box === "host" ? "01" : "02"}`;
  const script = `hostname ${box}
${libvirtSetUp({ env, sockets: socketsOf(box), hostUuid })}
VIFGUARD_SOCKET='${agent.socket}' ${hookFile("libvirt-watch")} '${uriOf(box)}' & watch=$!
trap 'stop; wait $watch; exit 0' TERM
while :; do sleep 0.2; done`;
  const argv = ["unshare", "--mount", "--uts", "--propagation", "private", helper, ...libvirtFolders, "--"];
  await fleet.lab.start(box, [...argv, "bash", "-c", script], `libvirt-${box}.log`);
  const isUp = async (): Promise<boolean> => (await virsh(box, "version")).status === 0;
  if (!(await eventually(isUp, LONG_MS)))
    throw new Error(
      `${box}: ${await fleet.lab.must(box, ["sh", "-c", `cat ${fleet.lab.directory}/libvirt-${box}.log; cat ${socketsOf(box)}/log; ls -l ${socketsOf(box)}`])} ${JSON.stringify(await virsh(box, "version"))}`,
    );
}

const virsh = (box: HostBox, ...words: readonly string[]): Promise<Finished> =>
  fleet.lab.exec(box, ["virsh", "-q", "-c", uriOf(box), ...words], { timeoutMs: patience(LONG_MS) });

/** @param by where the memory is sent */
function migrate(from: HostBox, to: HostBox, by: string): Promise<Finished> {
  return virsh(from, "migrate", "--live", "g1", uriOf(to), "--migrateuri", `tcp://${by}:49152`);
}

const addressOf = (box: HostBox): string => {
  const own = fleet.lab.topology.hosts.find((host) => host.box === box);
  if (own === undefined) throw new TypeError(box);
  return own.address;
};

/** Of the agent's ports with the mover's NIC. */
async function stateAt(box: HostBox): Promise<string | undefined> {
  const host = fleet.hosts.find((one) => one.box === box);
  return (await host?.client.status())?.ports.find(({ guest }) => guest === mover.box)?.state;
}

const isReached = (): Promise<boolean> => pings(fleet.lab, "neighbour", mover.address);

beforeAll(async () => {
  fleet = await raiseEtcdLab(`lvm${process.pid.toString(36)}`, 1);
  mover = guestAt(fleet.guests, 0);
  await fleet.hostOf(mover).client.detach(mover.port);
  await Promise.all(fleet.hosts.map(startLibvirt));
}, patience(180_000));
afterAll(async () => {
  for (const box of ["host", "host2"] as const) await virsh(box, "destroy", "g1");
  await fleet?.lab.down();
});

test("live, there and back: prepared while it is served where it runs, open where it is resumed", async () => {
  const file = `${fleet.lab.directory}/g1.xml`;
  await writeFile(file, domainXml({ name: "g1", mac: mover.mac, words: "stay" }));
  expect(await virsh("host", "create", file)).toMatchObject({ status: 0, stderr: "" });
  expect(await eventually(isReached, LONG_MS), "it has booted").toBe(true);
  const refused = await virsh("host2", "create", file);
  expect(refused.stderr, "control: a second one does not start").toContain(
    "is attached to port 'vnet0' of host 'host'",
  );
  for (const [from, to] of [
    ["host", "host2"],
    ["host2", "host"],
  ] as const) {
    const ping = await startPing(fleet.lab, "neighbour", mover.address);
    expect(await migrate(from, to, addressOf(to))).toMatchObject({ status: 0, stderr: "" });
    expect(await eventually(async () => (await stateAt(to)) === "applied"), `open on ${to}`).toBe(true);
    expect(await eventually(isReached), `reached on ${to}`).toBe(true);
    const gap = longestGap(await ping.stop());
    expect(gap, "silence, in milliseconds").toBeLessThan(patience(30_000));
    expect(await eventually(async () => (await stateAt(from)) === undefined), `${from} has nothing of it`).toBe(true);
  }
});

test("a migration that fails when memory is to be sent leaves it where it was, and nothing where it was to come", async () => {
  expect(await stateAt("host")).toBe("applied");
  const failed = await migrate("host", "host2", "203.0.113.99");
  expect(failed.status).not.toBe(0);
  expect([await stateAt("host"), await isReached()]).toEqual(["applied", true]);
  expect(await eventually(async () => (await stateAt("host2")) === undefined)).toBe(true);
  expect((await virsh("host", "domstate", "g1")).stdout).toContain("running");
});
