/** Guests inside two hosts: they meet by their public addresses alone, and a group means its members by these. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../src/api/client.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { type Flows, flowsIn } from "../support/flows.ts";
import { applyText, dropsOf, eventually, guestAt, moreThan, pings } from "../support/guarded-lab.ts";
import { type NatExtras, natSite, publicOf, raiseNatLab } from "../support/nat-lab.ts";
import type { RoutedLab } from "../support/routed-lab.ts";

const WEB = 80;

describe("guests inside two hosts", () => {
  let routed: RoutedLab;
  let flows: Flows;
  let one: GuestBox;
  let two: GuestBox;
  beforeAll(async () => {
    routed = await raiseNatLab({ name: `nth${process.pid.toString(36)}`, guests: 2, hosts: 2 });
    [one, two] = [guestAt(routed.guests, 0), guestAt(routed.guests, 1)];
    flows = flowsIn(routed.lab);
    for (const { box } of [one, two]) await flows.serve(box, WEB);
  });
  afterAll(() => routed?.lab.down());

  const clients = () => (["host", "host2"] as const).map((host) => connect(routed.agentAt(host).socket));
  async function apply(extras: NatExtras): Promise<void> {
    for (const client of clients()) await applyText({ client }, natSite(routed.lab.topology, extras));
  }

  test("reach each other by public addresses, and by private ones not at all", async () => {
    expect([one.on, two.on]).toEqual(["host", "host2"]);
    const pairs = [
      [one, two],
      [two, one],
    ] as const;
    for (const [from, to] of pairs) {
      expect(await eventually(() => flows.reaches(from.box, publicOf(to), WEB)), from.box).toBe(true);
      expect(await pings(routed.lab, from.box, publicOf(to))).toBe(true);
      expect(await flows.reaches("neighbour", publicOf(to), WEB)).toBe(true);
    }
    const before = await dropsOf(routed, one.port);
    expect(await flows.reaches(one.box, two.address, WEB)).toBe(false);
    expect([...moreThan(before, await dropsOf(routed, one.port)).keys()]).toContain("untranslated");
  });

  test("a group names its members by the addresses they have outside", async () => {
    const group = (name: string, spec: string): string => `kind: group\nname: ${name}\nspec: { ${spec} }`;
    const carried = (groups: string): NatExtras => ({
      groups: [
        group("web", `ingress: [{ protocol: tcp, ports: [${WEB}], from: { group: client } }]`),
        group("client", `egress: [{ protocol: tcp, ports: [${WEB}], to: { group: web } }]`),
      ],
      nics: { guest1: `public4: ${publicOf(one)}${groups}`, guest2: `public4: ${publicOf(two)}, groups: [web]` },
    });
    await apply(carried(", groups: [client]"));
    expect(await eventually(() => flows.reaches(one.box, publicOf(two), WEB)), "let out there and in here").toBe(true);
    expect(await flows.reaches("neighbour", publicOf(two), WEB), "no member").toBe(false);
    await apply(carried(""));
    const isRefused = async (): Promise<boolean> => !(await flows.reaches(one.box, publicOf(two), WEB));
    expect(await eventually(isRefused), "a member no more").toBe(true);
    await apply({});
  });
});
