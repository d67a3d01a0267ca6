import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startAgent } from "../../src/lab/guarded.ts";
import { patience } from "../../src/lab/patience.ts";
import { type GuestBox, globalOf } from "../../src/lab/topology.ts";
import { areCut, type Flows, flowsIn, goOn, type Stream } from "../support/flows.ts";
import {
  agentPid,
  applyExtras,
  dropsOf,
  eventually,
  type GuardedLab,
  guestAt,
  killAgent,
  moreThan,
  raiseGuardedLab,
  type SiteExtras,
} from "../support/guarded-lab.ts";

const own = process.pid.toString(36);
const [SHOP, FEED, BACKDOOR] = [8080, 8081, 2222];

const groups = [
  "kind: group\nname: open\nspec: { ingress: [{ protocol: any, from: any }] }",
  `kind: group\nname: shop\nspec: { ingress: [{ protocol: tcp, ports: [${SHOP}], from: any }] }`,
  "kind: group\nname: closed\nspec: { egress: [] }",
];
const site = (guest1: string, guest2: string): SiteExtras => ({
  groups,
  nics: { guest1: `groups: [${guest1}]`, guest2: `groups: [${guest2}]` },
});

describe("groups and time", () => {
  let guarded: GuardedLab;
  let flows: Flows;
  let shop: GuestBox;
  let client: GuestBox;
  const both = (party: Parameters<typeof globalOf>[0] & { readonly address: string }): readonly string[] => [
    party.address,
    globalOf(party),
  ];

  beforeAll(async () => {
    guarded = await raiseGuardedLab(`pli${own}`, 2, site("open", "open"));
    flows = flowsIn(guarded.lab);
    [shop, client] = [guestAt(guarded.guests, 0), guestAt(guarded.guests, 1)];
    for (const port of [SHOP, BACKDOOR]) await flows.serve("guest1", port);
    await flows.feed("neighbour", FEED);
    await flows.serve("neighbour", SHOP);
  });
  afterAll(() => guarded?.lab.down());

  test("when a NIC is first judged, downloads of it go on and connections into it that are not allowed are cut", {
    timeout: patience(120_000),
  }, async () => {
    const { neighbour } = guarded.lab.topology;
    await applyExtras(guarded, site("open", "open"));
    const kept: Stream[] = [];
    for (const address of both(neighbour)) kept.push(await flows.download("guest2", address, FEED));
    for (const address of both(shop)) kept.push(await flows.stream("neighbour", address, SHOP));
    const cut: Stream[] = [];
    for (const address of both(shop)) cut.push(await flows.stream("neighbour", address, BACKDOOR));
    expect(await flows.tracked(shop.address), "control: nothing is known of open NICs").toEqual([]);
    const before = await dropsOf(guarded, shop.port, "to-guest");
    // Without any group: nothing in, everything out.
    await applyExtras(guarded, site("shop", ""));
    await goOn(kept, "what the NIC opened, and what it lets in");
    await areCut(cut, "what nothing lets in");
    expect(moreThan(before, await dropsOf(guarded, shop.port, "to-guest")).get("policy-ingress") ?? 0).toBeGreaterThan(
      0,
    );
    await goOn(kept, "still");
    for (const stream of [...kept, ...cut]) await stream.stop();
  });

  test("a flow that a NIC may not have any more does not come back by its answers", async () => {
    const { neighbour } = guarded.lab.topology;
    await applyExtras(guarded, site("open", "open"));
    const running: Stream[] = [];
    for (const address of both(neighbour)) running.push(await flows.download("guest2", address, FEED));
    await applyExtras(guarded, site("open", "closed"));
    await areCut(running, "nothing may go out");
    for (const stream of running) await stream.stop();
    await applyExtras(guarded, site("open", "open"));
    expect(await flows.reaches("neighbour", shop.address, SHOP), "control").toBe(true);
  });

  test("an agent that is killed is not missed, and the next one changes nothing", {
    timeout: patience(120_000),
  }, async () => {
    const { lab } = guarded;
    const rules = (): Promise<string> => lab.must("host", ["nft", "-a", "-s", "-t", "list", "ruleset"]);
    const known = async (): Promise<readonly string[]> =>
      (await lab.must("host", ["conntrack", "-L", "-o", "id", "-p", "tcp", "--dport", String(SHOP)]))
        .split("\n")
        .map((line) => /\bid=\d+/.exec(line)?.[0] ?? "");
    await applyExtras(guarded, site("open", "shop"));
    await applyExtras(guarded, site("shop", "shop"));
    const running: Stream[] = [];
    for (const address of both(shop)) running.push(await flows.stream("neighbour", address, SHOP));
    await killAgent(lab);
    await goOn(running, "without an agent");
    for (const address of both(shop)) {
      expect(await eventually(() => flows.reaches("guest2", address, SHOP)), `${address}: allowed`).toBe(true);
      expect(await flows.reaches("neighbour", address, BACKDOOR), `${address}: not allowed`).toBe(false);
    }
    const [rulesBefore, knownBefore] = [await rules(), await known()];
    await startAgent(lab);
    expect(await rules(), "the same rules, none of them written again").toBe(rulesBefore);
    expect(await known(), "the same connections").toEqual(expect.arrayContaining(knownBefore.slice(0, 2)));
    await goOn(running, "with another agent");
    for (const address of both(shop)) expect(await flows.reaches("neighbour", address, BACKDOOR)).toBe(false);
    for (const stream of running) await stream.stop();
  });

  test("rules that another program throws away come back: what is allowed goes on, what came in meanwhile is cut", {
    timeout: patience(120_000),
  }, async () => {
    const { lab } = guarded;
    await applyExtras(guarded, site("shop", ""));
    const kept: Stream[] = [];
    for (const address of both(shop)) kept.push(await flows.stream("neighbour", address, SHOP));
    const pid = await agentPid(lab);
    // Held, so that there is time for what is otherwise repaired in a moment.
    process.kill(pid, "SIGSTOP");
    await lab.must("host", ["nft", "flush", "ruleset"]);
    const cut: Stream[] = [];
    for (const address of both(shop)) cut.push(await flows.stream("neighbour", address, BACKDOOR));
    process.kill(pid, "SIGCONT");
    await areCut(cut, "came in while there were no rules");
    await goOn(kept, "goes on");
    for (const address of both(shop)) {
      expect(await flows.reaches("guest2", address, SHOP), `control: ${address}`).toBe(true);
      expect(await flows.reaches("neighbour", address, BACKDOOR), address).toBe(false);
    }
    for (const stream of [...kept, ...cut]) await stream.stop();
  });

  test("a kernel that cannot track connections: stateful NICs are refused with the reason and down, open ones are not", {
    timeout: patience(120_000),
  }, async () => {
    const { lab } = guarded;
    const isUp = async (guest: GuestBox): Promise<boolean> =>
      !(await lab.must("host", ["ip", "-br", "link", "show", "dev", guest.port])).includes("DOWN");
    await applyExtras(guarded, site("shop", "open"));
    expect([await isUp(shop), await isUp(client)], "control").toEqual([true, true]);
    await killAgent(lab);
    await startAgent(lab, ["--without", "inet-conntrack"]);
    expect((await guarded.client.status()).kernel.policy).toBe("none");
    expect([await isUp(shop), await isUp(client)], "attached already").toEqual([false, true]);
    expect(await flows.reaches("guest2", lab.topology.neighbour.address, SHOP), "the open one works").toBe(true);
    expect(await flows.reaches("neighbour", shop.address, SHOP)).toBe(false);
    await guarded.client.detach(shop.port);
    const refused = guarded.client.attach({ port: shop.port, guest: shop.box });
    await expect(refused).rejects.toMatchObject({ code: "POLICY_UNSUPPORTED" });
    await expect(refused).rejects.toThrow(/cannot track connections/);
    expect(await isUp(shop), "stays down").toBe(false);
    await guarded.client.detach(client.port);
    await guarded.client.attach({ port: client.port, guest: client.box });
    expect(await isUp(client), "an open one attaches").toBe(true);
  });
});
