/**
 * Security groups where the host itself is the gateway of a bridged network (contract section 4): what guests send to its bridge and what it routes to them passes
 * the IP hooks of the host and no forwarding of the bridge, and is judged there.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type GuestBox, HOST_BRIDGE } from "../../src/lab/topology.ts";
import type { Direction, Reason } from "../../src/model/reasons.ts";
import { areCut, type Flows, flowsIn, goOn } from "../support/flows.ts";
import {
  applyText,
  dropsOf,
  type GuardedLab,
  guestAt,
  moreThan,
  raiseGuardedLab,
  siteText,
} from "../support/guarded-lab.ts";

const own = process.pid.toString(36);
/** Allowed both ways, and not. */
const [SHOP, CLOSED] = [8080, 9999];
const FAR = "198.51.100.2";

const groups = [
  `kind: group\nname: held\nspec: { ingress: [{ protocol: tcp, ports: [${SHOP}], from: any }], egress: [{ protocol: tcp, ports: [${SHOP}], to: any }] }`,
  "kind: group\nname: open\nspec: { ingress: [{ protocol: any, from: any }] }",
];

let guarded: GuardedLab;
let flows: Flows;
let held: GuestBox;
let open: GuestBox;

/** A second network behind the host, whose one machine knows the guests by the host alone. */
async function routeThroughHost({ lab, guests }: GuardedLab): Promise<void> {
  const onHost = (...argv: string[]): Promise<string> => lab.must("host", argv);
  await onHost("ip", "link", "add", "far0", "type", "veth", "peer", "name", "far1", "netns", lab.netns("gw"));
  await onHost("ip", "address", "add", "198.51.100.1/24", "dev", "far0");
  await onHost("ip", "link", "set", "far0", "up");
  for (const device of ["far0", HOST_BRIDGE]) await onHost("sysctl", "-qw", `net.ipv4.conf.${device}.forwarding=1`);
  await lab.must("gw", ["ip", "address", "add", `${FAR}/24`, "dev", "far1"]);
  await lab.must("gw", ["ip", "link", "set", "far1", "up"]);
  for (const { box, address } of guests) {
    await lab.must("gw", ["ip", "route", "add", `${address}/32`, "via", "198.51.100.1"]);
    await lab.must(box, ["ip", "route", "replace", "default", "via", lab.topology.host.address]);
  }
}

/** The group of the first guest; the second one is open. */
function applyGroup(group: string): Promise<void> {
  const { topology } = guarded.lab;
  const site = siteText(topology, { groups, nics: { guest1: `groups: [${group}]`, guest2: "groups: [open]" } });
  const own = `gateway4: ${topology.host.address}\n`;
  return applyText(guarded, site.replace(`gateway4: ${topology.gateway.address}\n`, own));
}

beforeAll(async () => {
  guarded = await raiseGuardedLab(`plg${own}`, 2);
  flows = flowsIn(guarded.lab);
  [held, open] = [guestAt(guarded.guests, 0), guestAt(guarded.guests, 1)];
  await applyGroup("held");
  await routeThroughHost(guarded);
  for (const box of ["gw", "guest1", "guest2"] as const)
    for (const port of [SHOP, CLOSED]) await flows.serve(box, port);
});
afterAll(() => guarded?.lab.down());

/** Refused, and counted for the NIC under that line. */
async function isRefused(reaches: () => Promise<boolean>, direction: Direction, reason: Reason): Promise<void> {
  const before = await dropsOf(guarded, held.port, direction);
  expect(await reaches()).toBe(false);
  expect([...moreThan(before, await dropsOf(guarded, held.port, direction)).keys()]).toContain(reason);
}

test("a guest reaches by the host what its groups let it use, and nothing else", async () => {
  expect(await flows.reaches("guest1", FAR, SHOP), "control: allowed").toBe(true);
  await isRefused(() => flows.reaches("guest1", FAR, CLOSED), "from-guest", "policy-egress");
  expect(await flows.reaches(open.box, FAR, CLOSED), "control: the same of a guest that may").toBe(true);
});

test("a guest is reached by the host on what its groups offer, and on nothing else", async () => {
  expect(await flows.reaches("gw", held.address, SHOP), "control: allowed").toBe(true);
  await isRefused(() => flows.reaches("gw", held.address, CLOSED), "to-guest", "policy-ingress");
  expect(await flows.reaches("gw", open.address, CLOSED), "control: the same to a guest that may").toBe(true);
});

test("a rule that goes cuts what goes through the host, and leaves others alone", async () => {
  await applyGroup("open");
  const streams = [await flows.stream("guest1", FAR, CLOSED), await flows.stream("guest2", FAR, CLOSED)];
  const [ours, others] = [streams.slice(0, 1), streams.slice(1)];
  await goOn(streams, "control: open guests may");
  await applyGroup("held");
  await areCut(ours, "a stream whose rule is gone");
  await goOn(others, "control: that of a guest that still may");
});
