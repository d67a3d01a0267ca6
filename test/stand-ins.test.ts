/**
 * A NIC with two ports of one host (invariant I18), on memory kernels: the stand-in serves while nobody is connected at the port. Whoever crashes, is refused or
 * unplugged at whichever touch, never are both open, and when the agent is back the one that is due is.
 */
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GuardError } from "../src/model/errors.ts";
import { type Fleet, type FleetHost, raiseFleet, type Wired } from "./support/memory-fleet.ts";

const wirings: readonly Wired[] = ["bridged", "routed"];
const [PORT, EMU] = ["vif1.0", "vif1.0-emu"];

interface Bench extends Fleet {
  readonly host: FleetHost;
}

async function withPair(wired: Wired, use: (bench: Bench) => Promise<void>): Promise<void> {
  const fleet = await raiseFleet(wired, undefined, { own: () => ({ movePatience: 2_000 }) });
  for (const port of [PORT, EMU, "vif2.0"]) for (const host of fleet.hosts) host.plug(port);
  try {
    await use({ ...fleet, host: fleet.first });
  } finally {
    await fleet.stop();
  }
}

async function paired(wired: Wired, use: (bench: Bench) => Promise<void>): Promise<void> {
  await withPair(wired, async (bench) => {
    await bench.host.attach(PORT);
    await bench.host.standIn(EMU, PORT);
    await use(bench);
  });
}

const open = (host: FleetHost): readonly string[] => [PORT, EMU, "vif2.0"].filter((port) => host.linkOf(port)?.up);

async function states(host: FleetHost): Promise<Readonly<Record<string, string>>> {
  const { ports } = await host.status();
  return Object.fromEntries(ports.map(({ port, state }) => [port, state]));
}

const codeOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => "done",
    (error: unknown) => (error instanceof GuardError ? error.code : error),
  );

describe.each(wirings)("%s", (wired) => {
  test("the stand-in serves until the guest is connected at the port, and again when it is not any more", () =>
    withPair(wired, async ({ host, claim, ...fleet }) => {
      await host.attach(PORT);
      expect(open(host), "control: a port alone serves, connected or not").toEqual([PORT]);
      expect(await host.standIn(EMU, PORT)).toMatchObject({ port: EMU, state: "applied" });
      expect([open(host), await claim()]).toEqual([[EMU], { fence: 2, holder: { host: "a", port: EMU } }]);
      const [port, emu] = (await host.status()).ports;
      expect(port).toMatchObject({
        state: "standby",
        why: "port 'vif1.0-emu' stands in until the guest is connected here",
      });
      expect(emu).toMatchObject({ why: "stands in for port 'vif1.0', where the guest is not connected" });
      host.connect(PORT, true);
      await expect.poll(() => open(host)).toEqual([PORT]);
      const after = (await host.status()).ports;
      expect(after.map(({ state, why }) => [state, why])).toEqual([
        ["applied", undefined],
        ["standby", "stands by for port 'vif1.0', where the guest is connected"],
      ]);
      expect((await host.status()).healthy).toBe(true);
      host.connect(PORT, false);
      await expect.poll(() => open(host)).toEqual([EMU]);
      expect(fleet.most()).toBe(1);
    }));

  test("the stand-in goes: the port serves at once, connected or not; the port goes: both are gone", () =>
    paired(wired, async ({ host, claim, settle, ...fleet }) => {
      host.unplug(EMU);
      await settle();
      expect([open(host), await claim()]).toEqual([[PORT], { fence: 3, holder: { host: "a", port: PORT } }]);
      host.plug(EMU);
      await host.standIn(EMU, PORT);
      expect(open(host), "it comes again").toEqual([EMU]);
      await host.detach(EMU);
      await settle();
      expect(open(host), "detached instead").toEqual([PORT]);
      await host.standIn(EMU, PORT);
      await host.detach(PORT);
      await settle();
      expect([open(host), await states(host), await claim()]).toEqual([[], {}, { fence: 6 }]);
      expect(fleet.most()).toBe(1);
    }));

  test.each([
    [EMU, PORT],
    [PORT, EMU],
  ])("a domain ends: %s goes before %s, and the next one has both", (first, second) =>
    paired(wired, async ({ host, settle, ...fleet }) => {
      for (const port of [first, second]) host.unplug(port);
      await settle();
      expect(await states(host)).toEqual({});
      for (const port of [PORT, EMU]) host.plug(port);
      await host.attach(PORT);
      await host.standIn(EMU, PORT);
      expect([open(host), fleet.most()]).toEqual([[EMU], 1]);
    }),
  );

  test("a stand-in that comes when the guest is connected stays shut, and both calls can be made twice", () =>
    withPair(wired, async ({ host, ...fleet }) => {
      await host.attach(PORT);
      host.connect(PORT, true);
      const held = host.ofAddress();
      expect(held).toEqual([wired === "routed" ? "proxy" : "answers4"]);
      for (let call = 0; call < 2; call += 1) expect(await host.standIn(EMU, PORT)).toMatchObject({ state: "standby" });
      expect([open(host), host.ofAddress()], "of one address, and still the other's").toEqual([[PORT], held]);
      host.crash();
      await host.start();
      expect([open(host), host.ofAddress()]).toEqual([[PORT], held]);
      host.connect(PORT, false);
      await expect.poll(() => open(host)).toEqual([EMU]);
      expect(await host.attach(PORT)).toMatchObject({ state: "standby" });
      expect(await host.standIn(EMU, PORT)).toMatchObject({ state: "applied" });
      expect([open(host), fleet.most()]).toEqual([[EMU], 1]);
    }));

  test("only for an attached port of the same NIC, one at a time, and not for one that stands in itself", () =>
    withPair(wired, async ({ host }) => {
      expect(await codeOf(host.standIn(EMU, PORT))).toBe("NOT_FOUND");
      await host.attach(PORT);
      expect(await codeOf(host.standIn("vif9.9", PORT))).toBe("PORT_MISSING");
      expect(await codeOf(host.standIn("eth0", PORT))).toBe("PORT_NAME");
      expect(await codeOf(host.standIn(PORT, PORT))).toBe("PORT_TAKEN");
      expect(await codeOf(host.standIn(EMU, PORT)), "control").toBe("done");
      expect(await codeOf(host.standIn("vif2.0", PORT))).toBe("PORT_TAKEN");
      expect(await codeOf(host.standIn("vif2.0", EMU))).toBe("NOT_FOUND");
      expect(open(host)).toEqual([EMU]);
    }));

  test("without an agent nothing opens and nothing that is open is shut; the next one sees what happened meanwhile", () =>
    paired(wired, async ({ host, settle, ...fleet }) => {
      host.crash();
      host.connect(PORT, true);
      await sleep(30);
      expect(open(host)).toEqual([EMU]);
      await host.start();
      await settle();
      expect(open(host), "the guest connected").toEqual([PORT]);
      host.crash();
      host.connect(PORT, false);
      await host.start();
      await settle();
      expect(open(host), "and is not connected any more").toEqual([EMU]);
      host.crash();
      await host.start();
      expect(open(host), "control: a restart alone moves nothing").toEqual([EMU]);
      host.crash();
      host.unplug(EMU);
      await host.start();
      await settle();
      expect([open(host), await states(host)], "its emulated card was unplugged").toEqual([
        [PORT],
        { [PORT]: "applied" },
      ]);
      expect(fleet.most()).toBe(1);
    }));

  test("while the store is away what is open stays, and what was due is made up for when it is back", () =>
    paired(wired, async ({ host, settle, ...fleet }) => {
      host.health.tell("no member answers");
      host.connect(PORT, true);
      await sleep(30);
      expect(open(host)).toEqual([EMU]);
      host.health.tell(undefined);
      await expect.poll(() => open(host)).toEqual([PORT]);
      await settle();
      expect(fleet.most()).toBe(1);
    }));

  test("a NIC that another host has is drawn to neither of the two", () =>
    paired(wired, async ({ host, second, settle, claim, ...fleet }) => {
      await second.attach("vif2.0", "ask");
      host.connect(PORT, true);
      await sleep(30);
      await settle();
      expect([open(host), second.answering(), await claim()]).toEqual([
        [],
        1,
        { fence: 3, holder: { host: "b", port: "vif2.0" } },
      ]);
      expect((await host.status()).ports.map(({ state }) => state)).toEqual(["moved", "moved"]);
      await host.attach(PORT, "ask");
      host.connect(PORT, false);
      await expect.poll(() => open(host)).toEqual([EMU]);
      expect(fleet.most()).toBe(1);
    }));

  test("an agent that ends or is refused at any one touch of a turn: never are both open, and when it is back the due one is", async () => {
    const isConnected = wired === "bridged";
    const touches = await turnTouches(wired, isConnected);
    expect(touches, "a turn touches kernel and store").toBeGreaterThan(5);
    for (const kind of ["crash", "refuse"] as const)
      for (let nth = 1; nth <= touches + 1; nth += 1) await failAt(wired, isConnected, kind, nth);
  }, 120_000);
});

const due = (isConnected: boolean): readonly string[] => [isConnected ? PORT : EMU];

async function turned(bench: Bench, isConnected: boolean): Promise<void> {
  bench.host.connect(PORT, isConnected);
  // A look comes every ten.
  await sleep(25);
  await bench.settle();
}

/** To where the turn begins. */
async function prepared(bench: Bench, isConnected: boolean): Promise<void> {
  await turned(bench, !isConnected);
  expect(open(bench.host)).toEqual(due(!isConnected));
}

async function turnTouches(wired: Wired, isConnected: boolean): Promise<number> {
  let touches = 0;
  await paired(wired, async (bench) => {
    await prepared(bench, isConnected);
    const before = bench.host.touches;
    await turned(bench, isConnected);
    touches = bench.host.touches - before;
    expect(open(bench.host), "control").toEqual(due(isConnected));
  });
  return touches;
}

async function failAt(wired: Wired, isConnected: boolean, kind: "crash" | "refuse", nth: number): Promise<void> {
  await paired(wired, async (bench) => {
    const where = `${kind} at touch ${nth} of a turn to ${due(isConnected).join()}`;
    await prepared(bench, isConnected);
    bench.host.limit(nth, kind);
    await turned(bench, isConnected).catch(expected);
    expect(bench.most(), where).toBe(1);
    if (kind === "refuse" && Object.values(await states(bench.host)).includes("applied"))
      expect(bench.host.ofAddress().length, `${where}: what serves has all it needs`).toBe(1);
    bench.host.limit(0, "crash");
    await bench.recover();
    await expect.poll(() => open(bench.host), { message: where }).toEqual(due(isConnected));
    expect(bench.most(), where).toBe(1);
  });
}

function expected(error: unknown): void {
  if (!(error instanceof GuardError)) throw error;
}

type Step =
  | { readonly kind: "connect" | "leave" | "crash" | "start" | "attach" | "standIn" | "away" | "back" }
  | { readonly kind: "plug" | "unplug" | "detach"; readonly port: string }
  | { readonly kind: "limit"; readonly touches: number; readonly how: "crash" | "refuse" }
  | { readonly kind: "turns"; readonly turns: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        ...(["connect", "leave", "crash", "start", "start", "attach", "standIn", "standIn"] as const),
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("plug" as const, "plug" as const, "unplug" as const, "detach" as const),
      port: fc.constantFrom(PORT, EMU),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("limit" as const),
      touches: fc.integer({ min: 1, max: 40 }),
      how: fc.constantFrom("crash" as const, "refuse" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("away" as const, "back" as const) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("turns" as const), turns: fc.integer({ min: 0, max: 30 }) }) },
);

async function play({ host, second, settle }: Bench, one: Step): Promise<void> {
  const go = (call: () => Promise<unknown>): void => void Promise.resolve().then(call).catch(expected);
  switch (one.kind) {
    case "connect":
    case "leave":
      return host.linkOf(PORT) === undefined ? undefined : host.connect(PORT, one.kind === "connect");
    case "attach":
      return go(() => host.attach(PORT));
    case "standIn":
      return go(() => host.standIn(EMU, PORT));
    case "detach":
      return go(() => host.detach(one.port));
    case "away":
      return go(() => second.attach("vif2.0", "ask"));
    case "back":
      return go(() => host.attach(PORT, "ask"));
    case "limit":
      return host.limit(one.touches, one.how);
    case "turns":
      return settle(one.turns).catch(() => undefined);
    case "plug":
    case "unplug":
      return host[one.kind](one.port);
    case "start":
      return go(() => host.start());
    default:
      return host.crash();
  }
}

/** What a history may have left, when everybody has come to rest. */
async function judged(bench: Bench): Promise<"stood in" | "served" | "shut"> {
  const { host } = bench;
  const held = JSON.stringify((await bench.claim()) ?? {});
  const known = await states(host);
  const [hasPort, hasStandIn] = [known[PORT] !== undefined, known[EMU] !== undefined];
  expect([hasPort || !hasStandIn, held], "no stand-in without its port").toEqual([true, held]);
  const isHere = held.includes('"holder":{"host":"a"');
  const serving = hasStandIn ? due(host.linkOf(PORT)?.carrier === true) : [PORT];
  expect([open(host), held, known]).toEqual([isHere ? serving : [], held, known]);
  if (!isHere) return "shut";
  return open(host).includes(EMU) ? "stood in" : "served";
}

test.each(wirings)(
  "%s: after any history of two ports never are both open, and of a pair that has the NIC the one that is due is",
  async (wired) => {
    const ends = { "stood in": 0, served: 0, shut: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), (history) =>
        paired(wired, async (bench) => {
          for (const one of history) await play(bench, one);
          for (const host of bench.hosts) host.limit(0, "crash");
          await bench.recover();
          await sleep(15);
          await bench.settle();
          expect(bench.most()).toBeLessThanOrEqual(1);
          ends[await judged(bench)] += 1;
        }),
      ),
      { numRuns: 40 },
    );
    expect([ends["stood in"] > 3, ends.served > 3], JSON.stringify(ends)).toEqual([true, true]);
  },
  120_000,
);
