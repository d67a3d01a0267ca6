/** Public addresses outside the LAN of the hosts: BIRD and FRR tell a router each of them, and by nothing else is the guest found. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { GuestBox } from "../../src/lab/topology.ts";
import { type Daemon, type RunningSpeaker, routerOf, startSpeakers } from "../support/announcing-lab.ts";
import { eventually, guestAt, pings } from "../support/guarded-lab.ts";
import { natSite, raiseNatLab } from "../support/nat-lab.ts";
import type { RoutedLab } from "../support/routed-lab.ts";

const PUBLIC = "198.51.100.5";
const extras = { nics: { guest1: `public4: ${PUBLIC}` } };
const protocols = { bird: "ospf", frr: "bgp" } as const;

let routed: RoutedLab;
let guest: GuestBox;
const speaking: RunningSpeaker[] = [];
beforeAll(async () => {
  routed = await raiseNatLab({ name: `nta${process.pid.toString(36)}`, guests: 1, hosts: 2 }, () => extras);
  guest = guestAt(routed.guests, 0);
});
afterAll(async () => {
  await Promise.all(speaking.map((one) => one.stop()));
  await routed?.lab.down();
});

test.each(["bird", "frr"] as const)("%s", async (daemon: Daemon) => {
  const { lab } = routed;
  const router = routerOf[daemon];
  const isReached = (): Promise<boolean> => pings(lab, router, PUBLIC);
  const routes = (): Promise<string> => lab.must(router, ["ip", "route", "show"]);
  expect([await isReached(), await routes()], "control: nobody answers for it on the LAN").toEqual([
    false,
    expect.not.stringContaining(PUBLIC),
  ]);
  const site = natSite(lab.topology, extras);
  const started = await startSpeakers({ lab, site }, daemon, { protocol: protocols[daemon], exact: true });
  speaking.push(...started.values());
  expect(await eventually(async () => (await routes()).includes(PUBLIC), 30_000), await routes()).toBe(true);
  expect(await routes()).toMatch(new RegExp(`^${PUBLIC} .*via ${lab.topology.host.address} `, "m"));
  expect(await eventually(isReached)).toBe(true);
  expect(await routes(), "what is private is told to nobody").not.toContain(guest.address);
});
