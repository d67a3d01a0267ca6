/**
 * Security groups on the real path (contract section 4): what a guest may offer and use, by group, stateful, and cut at once. Every refusal is counted for the
 * NIC it concerns, and has the same flow allowed before or after.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { patience } from "../../src/lab/patience.ts";
import { type Box, type GuestBox, globalOf } from "../../src/lab/topology.ts";
import type { PolicyShape } from "../../src/model/capabilities.ts";
import type { Direction, Reason } from "../../src/model/reasons.ts";
import { type Flows, flowsIn } from "../support/flows.ts";
import {
  agentPid,
  applyExtras,
  dropsOf,
  eventually,
  type GuardedLab,
  guestAt,
  moreThan,
  pings,
  raiseGuardedLab,
  type SiteExtras,
} from "../support/guarded-lab.ts";

const own = process.pid.toString(36);
const SHOP = 8080;
const DATABASE = 5432;
const POUR = 8081;
const group = (name: string, spec: string): string => `kind: group\nname: ${name}\nspec: { ${spec} }`;

/** guest1 web, guest2 database, guest3 a client without any group, guest4 only observed. */
const everyday: SiteExtras = {
  groups: [
    group(
      "web",
      `ingress: [{ protocol: tcp, ports: [${SHOP}], from: any }, { protocol: icmp, from: network }, { protocol: icmpv6, from: network }]`,
    ),
    group("database", `ingress: [{ protocol: tcp, ports: [${DATABASE}], from: { group: web } }], egress: []`),
  ],
  nics: { guest1: "groups: [web]", guest2: "groups: [database]" },
};

describe("security groups", () => {
  let guarded: GuardedLab;
  let web: GuestBox;
  let database: GuestBox;
  let client: GuestBox;
  let flows: Flows;

  beforeAll(async () => {
    guarded = await raiseGuardedLab(`pol${own}`, 3, everyday);
    [web, database, client] = [guestAt(guarded.guests, 0), guestAt(guarded.guests, 1), guestAt(guarded.guests, 2)];
    flows = flowsIn(guarded.lab);
    await flows.serve("guest1", SHOP);
    await flows.serve("guest1", DATABASE);
    await flows.serve("guest2", DATABASE);
    await flows.serve("guest3", SHOP);
    await flows.serve("neighbour", SHOP);
  });
  afterAll(() => guarded?.lab.down());

  const both = (guest: GuestBox): readonly string[] => [guest.address, globalOf(guest)];

  /** Not reached, and counted for the NIC under the line. */
  async function refused(
    from: Box,
    address: string,
    port: number,
    { at, direction, reason }: { at: GuestBox; direction: Direction; reason: Reason },
  ): Promise<void> {
    const before = await dropsOf(guarded, at.port, direction);
    expect(await flows.reaches(from, address, port), `${from} to ${address} ${port}`).toBe(false);
    expect(
      [...moreThan(before, await dropsOf(guarded, at.port, direction)).keys()],
      `${from} to ${address} ${port}`,
    ).toContain(reason);
  }

  test("an allowed service is reached by guests and the LAN, in both families, and nothing else is", async () => {
    for (const address of both(web)) {
      expect(await flows.reaches("guest3", address, SHOP), address).toBe(true);
      expect(await flows.reaches("neighbour", address, SHOP), address).toBe(true);
      await refused("guest3", address, DATABASE, { at: web, direction: "to-guest", reason: "policy-ingress" });
      await refused("neighbour", address, DATABASE, { at: web, direction: "to-guest", reason: "policy-ingress" });
    }
    expect(await pings(guarded.lab, "guest3", web.address)).toBe(true);
    expect(await pings(guarded.lab, "guest3", globalOf(web))).toBe(true);
  });

  test("out of a group that allows nothing out comes only what answers", async () => {
    for (const address of both(web))
      await refused("guest2", address, SHOP, { at: database, direction: "from-guest", reason: "policy-egress" });
    for (const address of both(database)) {
      expect(await flows.reaches("guest1", address, DATABASE), `${address}: the group is let in`).toBe(true);
      await refused("guest3", address, DATABASE, { at: database, direction: "to-guest", reason: "policy-ingress" });
    }
  });

  test("a NIC without groups offers nothing and uses everything; errors of its flows come back to it", async () => {
    const { neighbour } = guarded.lab.topology;
    expect(await flows.reaches("guest3", neighbour.address, SHOP)).toBe(true);
    expect(await flows.reaches("guest3", globalOf(neighbour), SHOP)).toBe(true);
    await refused("neighbour", client.address, SHOP, { at: client, direction: "to-guest", reason: "policy-ingress" });
    await refused("neighbour", globalOf(client), SHOP, { at: client, direction: "to-guest", reason: "policy-ingress" });
    // An answer of ICMP that the port is closed is an error of the flow: socat tells it at its next write.
    for (const target of [`UDP4:${neighbour.address}:9`, `UDP6:[${globalOf(neighbour)}]:9`]) {
      const script = '(echo a; sleep 0.5; echo b; sleep 0.5; echo c) | timeout 5 socat - "$1"';
      const { stderr } = await guarded.lab.exec("guest3", ["sh", "-c", script, "sh", target], {
        timeoutMs: patience(8000),
      });
      expect(stderr, target).toContain("Connection refused");
    }
  });

  const tracked = async (address: string, port: number): Promise<boolean> =>
    (await flows.tracked(address, "-p", "tcp", "--dport", String(port))).length > 0;

  test(
    "what is revoked is cut at once, also in the middle; everything else goes on through any number of changes",
    async () => {
      const cut = await Promise.all(both(database).map((address) => flows.stream("guest1", address, DATABASE)));
      const kept = await Promise.all(both(web).map((address) => flows.stream("neighbour", address, SHOP)));
      for (const address of both(database)) expect(await tracked(address, DATABASE), "control: it is known").toBe(true);
      for (let n = 0; n < 20; n += 1)
        await applyExtras(guarded, {
          ...everyday,
          nics: { ...everyday.nics, guest3: n % 2 === 0 ? "groups: [web]" : "groups: []" },
        });
      const before = await Promise.all([...cut, ...kept].map(({ count }) => count()));
      await sleep(patience(300));
      const later = await Promise.all([...cut, ...kept].map(({ count }) => count()));
      expect(
        later.every((count, n) => count > (before[n] ?? 0)),
        `control: all four run: ${before} ${later}`,
      ).toBe(true);
      // guest1 leaves the group that the database lets in, and offers the same as before by another one.
      const [web0 = "", ...others] = everyday.groups ?? [];
      await applyExtras(guarded, {
        groups: [web0, ...others, web0.replace("name: web", "name: shop")],
        nics: { ...everyday.nics, guest1: "groups: [shop]" },
      });
      const [atOnce, keptAtOnce] = [
        await Promise.all(cut.map(({ count }) => count())),
        await Promise.all(kept.map(({ count }) => count())),
      ];
      await sleep(patience(1000));
      expect(await Promise.all(cut.map(({ count }) => count())), "nothing more came").toEqual(atOnce);
      for (const address of both(database)) expect(await tracked(address, DATABASE), "forgotten").toBe(false);
      for (const [n, { count }] of kept.entries()) expect(await count(), "goes on").toBeGreaterThan(keptAtOnce[n] ?? 0);
      const drops = await dropsOf(guarded, database.port, "to-guest");
      expect(["policy-ingress", "conn-state"].some((reason) => [...drops.keys()].some((key) => key === reason))).toBe(
        true,
      );
      await applyExtras(guarded, everyday);
      expect(await flows.reaches("guest1", database.address, DATABASE), "control: allowed again").toBe(true);
      await Promise.all([...cut, ...kept].map(({ stop }) => stop()));
    },
    patience(120_000),
  );

  test("membership counts at once, both ways", async () => {
    await refused("guest3", database.address, DATABASE, {
      at: database,
      direction: "to-guest",
      reason: "policy-ingress",
    });
    await applyExtras(guarded, { ...everyday, nics: { ...everyday.nics, guest3: "groups: [web]" } });
    expect(await flows.reaches("guest3", database.address, DATABASE)).toBe(true);
    await applyExtras(guarded, everyday);
    await refused("guest3", database.address, DATABASE, {
      at: database,
      direction: "to-guest",
      reason: "policy-ingress",
    });
  });

  const openToo = (nics: Partial<Record<Box, string>>): SiteExtras => ({
    // "free" lets its members open what they like, and nobody in.
    groups: [
      ...(everyday.groups ?? []),
      group("open", "ingress: [{ protocol: any, from: any }]"),
      group("free", "ingress: []"),
    ],
    nics: { ...everyday.nics, ...nics },
  });

  test("what runs when a NIC is first judged goes on, also where only the other end speaks", async () => {
    await applyExtras(guarded, openToo({ guest3: "groups: [open]" }));
    const { neighbour } = guarded.lab.topology;
    await flows.feed("neighbour", POUR);
    const running = await flows.stream("guest3", neighbour.address, SHOP);
    const download = await flows.download("guest3", neighbour.address, POUR);
    await applyExtras(guarded, everyday);
    for (const { count } of [running, download]) {
      const before = await count();
      expect(await eventually(async () => (await count()) > before + 20), "goes on").toBe(true);
    }
    await refused("neighbour", client.address, SHOP, { at: client, direction: "to-guest", reason: "policy-ingress" });
    await Promise.all([running.stop(), download.stop()]);
  });

  test("a client that takes everything in keeps no revoked flow, also in the first minute of a NIC", async () => {
    // Known to the database's group and open itself: what comes back to it could as well be a flow of the server's own.
    await applyExtras(guarded, openToo({ guest2: "groups: [open]", guest3: "groups: [open, web]" }));
    const running = await flows.stream("guest3", database.address, DATABASE);
    await applyExtras(guarded, openToo({ guest2: "groups: [database, free]", guest3: "groups: [open, web]" }));
    const before = await running.count();
    expect(await eventually(async () => (await running.count()) > before + 20), "control: allowed, and goes on").toBe(
      true,
    );
    await applyExtras(guarded, openToo({ guest2: "groups: [database, free]", guest3: "groups: [open]" }));
    const atOnce = await running.count();
    await sleep(patience(700));
    expect(await running.count(), "cut").toBe(atOnce);
    await running.stop();
    await applyExtras(guarded, everyday);
  });

  test("one guest's connections have a bound, and others have theirs", async () => {
    await applyExtras(guarded, { ...everyday, nics: { ...everyday.nics, guest3: "connections: 20" } });
    const { neighbour } = guarded.lab.topology;
    // A NIC that has been idle has its bound still.
    await sleep(2_500);
    const before = await dropsOf(guarded, client.port);
    const script = 'for n in $(seq 60); do timeout 3 socat -u "TCP4:$1:$2,connect-timeout=1" - & done; wait';
    await guarded.lab.exec("guest3", ["sh", "-c", script, "sh", neighbour.address, String(SHOP)], {
      timeoutMs: patience(30_000),
    });
    expect(moreThan(before, await dropsOf(guarded, client.port)).get("conn-limit") ?? 0).toBeGreaterThan(0);
    const held = (
      await guarded.lab.exec("host", ["conntrack", "-L", "-s", client.address, "-p", "tcp", "--dport", String(SHOP)])
    ).stdout;
    expect(held.split("\n").filter((line) => /ESTABLISHED|SYN_/.test(line)).length).toBeLessThanOrEqual(20);
    expect(await flows.reaches("guest1", neighbour.address, SHOP), "control: another guest").toBe(true);
    await applyExtras(guarded, everyday);
  });

  test("an observed NIC is judged and counted, and let by", async () => {
    await applyExtras(guarded, { ...everyday, nics: { ...everyday.nics, guest1: "groups: [web], mode: observe" } });
    const before = await dropsOf(guarded, web.port, "to-guest");
    expect(await flows.reaches("guest3", web.address, DATABASE)).toBe(true);
    expect(moreThan(before, await dropsOf(guarded, web.port, "to-guest")).get("policy-ingress") ?? 0).toBeGreaterThan(
      0,
    );
    await applyExtras(guarded, everyday);
    await refused("guest3", web.address, DATABASE, { at: web, direction: "to-guest", reason: "policy-ingress" });
  });

  const flags = async (): Promise<string> => guarded.lab.must("host", ["ip", "-d", "link", "show", "br0"]);

  /** However this kernel judges, it does so no more. */
  async function takeJudgeAway({ policy, table }: Awaited<ReturnType<typeof shapeOf>>): Promise<void> {
    if (policy === "bridge-netfilter")
      await guarded.lab.must("host", ["ip", "link", "set", "br0", "type", "bridge", "nf_call_iptables", "0"]);
    else await guarded.lab.must("host", ["nft", "flush", "chain", "bridge", table, "policy_forward"]);
  }

  async function shapeOf(): Promise<{ readonly policy: PolicyShape; readonly table: string }> {
    const { policy, guard } = (await guarded.client.status()).kernel;
    return { policy, table: /vifguard_[0-9a-f]+/.exec(guard)?.[0] ?? "" };
  }

  test("bridges hand over what they forward only where they cannot track it themselves", async () => {
    const calls = (await shapeOf()).policy === "bridge-netfilter" ? 1 : 0;
    expect(await flags()).toContain(`nf_call_iptables ${calls} nf_call_ip6tables ${calls}`);
  });

  test("without the judge nothing of a stateful NIC passes, and it is put back", async () => {
    const sysctl = async (): Promise<string> =>
      (await guarded.lab.exec("host", ["cat", "/proc/sys/net/bridge/bridge-nf-call-iptables"])).stdout;
    const [was, before, shape] = [await sysctl(), await flags(), await shapeOf()];
    const pid = await agentPid(guarded.lab);
    process.kill(pid, "SIGSTOP");
    await takeJudgeAway(shape);
    expect(await flows.reaches("guest3", web.address, SHOP), "closed").toBe(false);
    process.kill(pid, "SIGCONT");
    expect(await eventually(() => flows.reaches("guest3", web.address, SHOP)), "open again").toBe(true);
    const calls = /nf_call_iptables . nf_call_ip6tables ./;
    expect((await flags()).match(calls)?.[0], "put back").toBe(before.match(calls)?.[0]);
    expect((await dropsOf(guarded, client.port)).get("conn-state") ?? 0, "and counted").toBeGreaterThan(0);
    expect(await sysctl(), "the switch of all bridges is as it was").toBe(was);
  });

  test("a detached NIC leaves no connection behind, and the last one switches the bridge's calls off", async () => {
    expect(await flows.reaches("guest3", web.address, SHOP)).toBe(true);
    expect(await tracked(web.address, SHOP)).toBe(true);
    for (const guest of [web, database, client]) await guarded.client.detach(guest.port);
    expect(await eventually(async () => !(await tracked(web.address, SHOP)))).toBe(true);
    expect(await eventually(async () => (await flags()).includes("nf_call_iptables 0 nf_call_ip6tables 0"))).toBe(true);
  });
});
