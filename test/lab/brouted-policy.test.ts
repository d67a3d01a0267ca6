/**
 * Security groups of brouted guests (contract section 4): what a guest opens is judged where the host routes it, what comes back or is opened to it where the bridge
 * forwards it, and both are one connection.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type GuestBox, globalOf, HOST_BRIDGE } from "../../src/lab/topology.ts";
import type { Direction, Reason } from "../../src/model/reasons.ts";
import { raiseBroutedLab } from "../support/brouted-lab.ts";
import { areCut, type Flows, flowsIn, goOn } from "../support/flows.ts";
import { applyText, dropsOf, guestAt, moreThan, siteText } from "../support/guarded-lab.ts";
import type { RoutedLab } from "../support/routed-lab.ts";

const own = process.pid.toString(36);
/** Allowed both ways, and not. */
const [SHOP, CLOSED] = [8080, 9999];
const groups = [
  `kind: group\nname: held\nspec: { ingress: [{ protocol: tcp, ports: [${SHOP}], from: any }], egress: [{ protocol: tcp, ports: [${SHOP}], to: any }] }`,
  "kind: group\nname: open\nspec: { ingress: [{ protocol: any, from: any }] }",
];

let brouted: RoutedLab;
let flows: Flows;
let held: GuestBox;
let other: GuestBox;

const applyGroups = (first: string, second = "open"): Promise<void> =>
  applyText(
    brouted,
    siteText(brouted.lab.topology, {
      groups,
      nics: { guest1: `groups: [${first}]`, guest2: `groups: [${second}]` },
    }),
  );

beforeAll(async () => {
  brouted = await raiseBroutedLab({ name: `brp${own}`, guests: 2 });
  flows = flowsIn(brouted.lab);
  [held, other] = [guestAt(brouted.guests, 0), guestAt(brouted.guests, 1)];
  await applyGroups("held");
  for (const box of ["neighbour", "guest1", "guest2"] as const)
    for (const port of [SHOP, CLOSED]) await flows.serve(box, port);
});
afterAll(() => brouted?.lab.down());

/** Refused, and counted for the first guest's NIC under that line. */
async function isRefused(reaches: () => Promise<boolean>, direction: Direction, reason: Reason): Promise<void> {
  const before = await dropsOf(brouted, held.port, direction);
  expect(await reaches()).toBe(false);
  expect([...moreThan(before, await dropsOf(brouted, held.port, direction)).keys()]).toContain(reason);
}

test("the bridge hands over what it forwards while the host routes by it: what is bridged to open guests passes", async () => {
  const { lab } = brouted;
  const link = await lab.must("host", ["ip", "-d", "-o", "link", "show", HOST_BRIDGE]);
  const shape = (await brouted.client.status()).kernel;
  expect(link.includes("nf_call_iptables 1"), JSON.stringify(shape)).toBe(true);
  for (const address of [other.address, globalOf(other)])
    expect(await flows.reaches("neighbour", address, CLOSED), address).toBe(true);
});

test("a guest reaches the LAN and the other guest on what its groups let it use, and on nothing else", async () => {
  const { neighbour } = brouted.lab.topology;
  for (const party of [neighbour, other])
    for (const address of [party.address, globalOf(party)]) {
      expect(await flows.reaches("guest1", address, SHOP), `control: ${address}`).toBe(true);
    }
  // A refusal takes a second: each end and each family once.
  for (const address of [neighbour.address, globalOf(other)])
    await isRefused(() => flows.reaches("guest1", address, CLOSED), "from-guest", "policy-egress");
  expect(await flows.reaches("guest2", neighbour.address, CLOSED), "control: a guest that may").toBe(true);
});

test("a guest is reached by the LAN and by the other guest on what its groups offer, and on nothing else", async () => {
  for (const box of ["neighbour", "guest2"] as const)
    for (const address of [held.address, globalOf(held)]) {
      expect(await flows.reaches(box, address, SHOP), `control: ${box} to ${address}`).toBe(true);
    }
  for (const [box, address] of [
    ["guest2", held.address],
    ["neighbour", globalOf(held)],
  ] as const)
    await isRefused(() => flows.reaches(box, address, CLOSED), "to-guest", "policy-ingress");
});

test("both halves are one connection, and a rule that goes cuts them, whoever opened it", async () => {
  const { neighbour } = brouted.lab.topology;
  await applyGroups("open", "held");
  const streams = [
    await flows.stream("guest1", neighbour.address, CLOSED),
    await flows.stream("neighbour", globalOf(held), CLOSED),
    await flows.stream("neighbour", held.address, SHOP),
    await flows.stream("guest1", other.address, SHOP),
  ];
  await applyGroups("held", "held");
  await areCut(streams.slice(0, 2), "streams whose rule is gone");
  await goOn(streams.slice(2), "streams whose rule stands");
  const one = await flows.tracked(
    held.address,
    "-s",
    neighbour.address,
    "-p",
    "tcp",
    "--dport",
    String(SHOP),
    "--state",
    "ESTABLISHED",
  );
  expect(one.length, one.join("\n")).toBe(1);
  expect(one[0], "seen both ways").not.toContain("UNREPLIED");
});
