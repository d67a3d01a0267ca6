/**
 * One NIC, one host (invariant I18), on memory kernels over one store: whoever crashes, is refused or is cut off at whichever touch of kernel or store, never do two
 * ports answer for a NIC, and when everybody is back exactly the holder of the claim does.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GuardError } from "../src/model/errors.ts";
import type { MoveKind } from "../src/model/operations.ts";
import { addressOf, type Fleet, raiseFleet, type Wired, fleetWired as wirings } from "./support/memory-fleet.ts";

async function withFleet(wired: Wired, use: (fleet: Fleet) => Promise<void>, names?: readonly string[]): Promise<void> {
  const fleet = await raiseFleet(wired, names);
  for (const host of fleet.hosts) for (const port of ["vif1.0", "vif2.0"]) host.plug(port);
  try {
    await use(fleet);
  } finally {
    await fleet.stop();
  }
}

/** The code it is refused with, or the state it answers. */
async function outcome(call: Promise<unknown>): Promise<unknown> {
  try {
    const value = await call;
    return typeof value === "object" && value !== null && "state" in value ? value.state : value;
  } catch (error) {
    if (error instanceof GuardError) return error.code;
    throw error;
  }
}

describe.each(wirings)("%s", (wired) => {
  test("a NIC that another host has is refused by name, and a move brings it over", () =>
    withFleet(wired, async ({ first, second, answering, claim, ...fleet }) => {
      await first.attach("vif1.0");
      const refused = await second.attach("vif2.0").catch((error: unknown) => error);
      expect(refused).toMatchObject({
        code: "NIC_TAKEN",
        fields: { host: "a", port: "vif1.0", guest: "web1", nic: 0 },
      });
      expect(refused instanceof GuardError && refused.hint).toContain("--move");
      expect(second.linkOf("vif2.0")?.up, "and it stays shut").toBe(false);
      const moved = await second.attach("vif2.0", "ask");
      expect(moved).toMatchObject({ state: "applied", port: "vif2.0" });
      expect([first.answering(), second.answering(), fleet.most()]).toEqual([0, 1, 1]);
      expect(await claim()).toEqual({ fence: 2, holder: { host: "b", port: "vif2.0" } });
      const [port] = (await first.status()).ports;
      expect(port).toMatchObject({ state: "moved", why: "moved to port 'vif2.0' of host 'b'" });
      expect((await first.status()).healthy).toBe(true);
      expect(await second.attach("vif2.0", "ask"), "a second call changes nothing").toEqual(moved);
      expect(await first.attach("vif1.0").then(undefined, ({ code }) => code)).toBe("NIC_TAKEN");
      expect(await outcome(first.attach("vif1.0", "ask")), "and back").toBe("applied");
      expect([first.answering(), second.answering(), fleet.most(), answering()]).toEqual([1, 0, 1, 1]);
    }));

  test("a port is detached where it was moved from, or where it is, and the NIC is free for the next", () =>
    withFleet(wired, async ({ first, second, claim }) => {
      await first.attach("vif1.0");
      await second.attach("vif2.0", "ask");
      await first.detach("vif1.0");
      expect([second.answering(), await claim()]).toEqual([1, { fence: 2, holder: { host: "b", port: "vif2.0" } }]);
      await second.detach("vif2.0");
      expect(await claim(), "the number stays").toEqual({ fence: 2 });
      expect(await outcome(first.attach("vif1.0"))).toBe("applied");
      expect(await claim()).toEqual({ fence: 3, holder: { host: "a", port: "vif1.0" } });
    }));

  test("a guest that is deleted takes its claims along, and one that is attached is not deleted", () =>
    withFleet(wired, async ({ first, second, claim, ...fleet }) => {
      await first.attach("vif1.0");
      expect(await outcome(second.remove())).toBe("IN_USE");
      await first.detach("vif1.0");
      await fleet.settle();
      await second.remove();
      expect(await claim()).toBeUndefined();
    }));

  test("within one host a NIC goes from one port to another in the same way", () =>
    withFleet(wired, async ({ first, claim, ...fleet }) => {
      await first.attach("vif1.0");
      expect(await outcome(first.attach("vif2.0"))).toBe("NIC_TAKEN");
      expect(await outcome(first.attach("vif2.0", "ask"))).toBe("applied");
      expect([first.linkOf("vif1.0")?.up, first.linkOf("vif2.0")?.up, fleet.most()]).toEqual([false, true, 1]);
      expect(await claim()).toMatchObject({ holder: { host: "a", port: "vif2.0" } });
    }));

  test("of two that attach one NIC at once exactly one wins, and the other is told who", () =>
    withFleet(wired, async ({ first, second, answering, ...fleet }) => {
      const both = await Promise.all([outcome(first.attach("vif1.0")), outcome(second.attach("vif2.0"))]);
      expect(both.sort()).toEqual(["NIC_TAKEN", "applied"]);
      expect([answering(), fleet.most()]).toEqual([1, 1]);
    }));

  test("two that would move it at once: one wins, the other hears that it is on its way, or where it is", () =>
    withFleet(
      wired,
      async ({ hosts, answering, ...fleet }) => {
        const [a, b, c] = hosts;
        if (a === undefined || b === undefined || c === undefined) throw new TypeError("three hosts");
        await a.attach("vif1.0");
        const both = await Promise.all([outcome(b.attach("vif1.0", "ask")), outcome(c.attach("vif1.0", "ask"))]);
        expect(both).toContain("applied");
        await fleet.settle();
        expect([answering(), fleet.most()]).toEqual([1, 1]);
      },
      ["a", "b", "c"],
    ));

  test("a host that is off is waited for, said so, and the move goes on when it is back", () =>
    withFleet(wired, async ({ first, second, answering, claim, ...fleet }) => {
      await first.attach("vif1.0");
      first.crash();
      expect(await outcome(second.attach("vif2.0", "ask"))).toBe("MOVE_WAITING");
      const [port] = (await second.status()).ports;
      expect(port).toMatchObject({ state: "pending", why: "waits for port 'vif1.0' of host 'a' to let go" });
      expect([first.answering(), second.answering()], "the dead agent's kernel still answers").toEqual([1, 0]);
      expect(await outcome(second.attach("vif2.0", "ask")), "asked again").toBe("MOVE_WAITING");
      await first.start();
      await fleet.settle();
      expect([first.answering(), second.answering(), fleet.most()]).toEqual([0, 1, 1]);
      expect(await claim()).toEqual({ fence: 2, holder: { host: "b", port: "vif2.0" } });
    }));

  test("who waits may give up, and the holder keeps what it has", () =>
    withFleet(wired, async ({ first, second, claim }) => {
      await first.attach("vif1.0");
      first.crash();
      await outcome(second.attach("vif2.0", "ask"));
      await second.detach("vif2.0");
      await first.start();
      expect([first.answering(), second.answering()]).toEqual([1, 0]);
      expect(await claim()).toEqual({ fence: 1, holder: { host: "a", port: "vif1.0" } });
    }));

  test("by force the NIC is taken from a host that does not answer, and that one shuts its port before it does anything else", () =>
    withFleet(wired, async ({ first, second, claim, ...fleet }) => {
      await first.attach("vif1.0");
      first.crash();
      expect(await outcome(second.attach("vif2.0", "force"))).toBe("applied");
      expect(await claim()).toEqual({ fence: 2, holder: { host: "b", port: "vif2.0" } });
      expect([first.answering(), second.answering()], "what --force is warned of").toEqual([1, 1]);
      await first.start();
      expect([first.answering(), second.answering()]).toEqual([0, 1]);
      expect((await first.status()).ports[0]).toMatchObject({ state: "moved" });
      await fleet.settle();
      expect(await claim(), "and it has no say any more").toEqual({ fence: 2, holder: { host: "b", port: "vif2.0" } });
    }));

  test("by force, but the holder answers: it is asked first, and never do two answer", () =>
    withFleet(wired, async ({ first, second, ...fleet }) => {
      await first.attach("vif1.0");
      expect(await outcome(second.attach("vif2.0", "force"))).toBe("applied");
      expect([first.answering(), second.answering(), fleet.most()]).toEqual([0, 1, 1]);
    }));

  test("two that force at once: one has it, and the other is told", () =>
    withFleet(
      wired,
      async ({ hosts, answering, ...fleet }) => {
        const [a, b, c] = hosts;
        if (a === undefined || b === undefined || c === undefined) throw new TypeError("three hosts");
        await a.attach("vif1.0");
        a.crash();
        a.shut("vif1.0");
        const both = await Promise.all([outcome(b.attach("vif1.0", "force")), outcome(c.attach("vif1.0", "force"))]);
        await fleet.settle();
        expect(both.filter((one) => one === "applied")).toEqual(["applied"]);
        expect([answering(), fleet.most()]).toEqual([1, 1]);
      },
      ["a", "b", "c"],
    ));

  test("a host that was cut off while its NIC was taken shuts its port as soon as it hears of it", () =>
    withFleet(wired, async ({ first, second, ...fleet }) => {
      await first.attach("vif1.0");
      first.cut();
      expect(await outcome(second.attach("vif2.0", "ask"))).toBe("MOVE_WAITING");
      expect([first.answering(), second.answering(), fleet.most()], "cut off it goes on").toEqual([1, 0, 1]);
      expect(await outcome(second.attach("vif2.0", "force"))).toBe("applied");
      first.heal();
      await fleet.settle();
      expect([first.answering(), second.answering()]).toEqual([0, 1]);
    }));

  test("an agent that starts while the store is away keeps what is open, and opens nothing that is shut until the store was heard", () =>
    withFleet(wired, async ({ first, ...fleet }) => {
      await first.attach("vif1.0");
      first.crash();
      first.health.tell("no member answers");
      await first.start();
      expect([first.answering(), (await first.status()).ports[0]?.state], "control").toEqual([1, "applied"]);
      first.crash();
      first.shut("vif1.0");
      await first.start();
      expect(first.answering()).toBe(0);
      expect((await first.status()).ports[0]).toMatchObject({
        state: "pending",
        why: "waits for the store, which may have given its NIC to another",
      });
      first.health.tell(undefined);
      await fleet.settle();
      expect([first.answering(), (await first.status()).ports[0]?.state]).toEqual([1, "applied"]);
    }));

  test("a port is prepared while another has the NIC: shut, with its rules, and nobody was asked; activated it has it", () =>
    withFleet(wired, async ({ first, second, claim, ...fleet }) => {
      await first.attach("vif1.0");
      const held = await claim();
      expect(await second.attach("vif2.0", "prepare")).toMatchObject({ state: "prepared", port: "vif2.0" });
      expect(second.rulesOf("vif2.0"), "control: its rules are in").toBeGreaterThan(0);
      await fleet.settle();
      second.disturb();
      await fleet.settle();
      expect(await claim()).toEqual(held);
      expect([first.answering(), second.answering(), fleet.most()]).toEqual([1, 0, 1]);
      const [port] = (await second.status()).ports;
      const why = "takes its NIC when it is activated; port 'vif1.0' of host 'a' has it now";
      expect(port).toMatchObject({ state: "prepared", why });
      expect((await second.status()).healthy, "and nothing is wrong").toBe(true);
      expect(await outcome(second.attach("vif2.0")), "without being asked for").toBe("NIC_TAKEN");
      expect(await outcome(second.attach("vif2.0", "ask"))).toBe("applied");
      expect([first.answering(), second.answering(), fleet.most()]).toEqual([0, 1, 1]);
      expect(await claim()).toEqual({ fence: 2, holder: { host: "b", port: "vif2.0" } });
      expect(await outcome(second.attach("vif2.0", "prepare")), "what is open stays so").toBe("applied");
    }));

  test("who is prepared survives its agent, follows where the NIC goes, and gives up without a word to anybody", () =>
    withFleet(
      wired,
      async ({ hosts, answering, claim, ...fleet }) => {
        const [a, b, c] = hosts;
        if (a === undefined || b === undefined || c === undefined) throw new TypeError("three hosts");
        await a.attach("vif1.0");
        for (const one of [b, c]) expect(await outcome(one.attach("vif2.0", "prepare"))).toBe("prepared");
        b.crash();
        await b.start();
        expect((await b.status()).ports[0]?.state).toBe("prepared");
        expect(await outcome(c.attach("vif2.0", "ask"))).toBe("applied");
        expect((await b.status()).ports[0]?.why).toContain("port 'vif2.0' of host 'c' has it now");
        expect(await outcome(b.attach("vif2.0", "ask"))).toBe("applied");
        expect(await outcome(a.attach("vif2.0", "prepare"))).toBe("prepared");
        const held = await claim();
        await a.detach("vif2.0");
        expect(await claim()).toEqual(held);
        expect([b.answering(), answering(), fleet.most()]).toEqual([1, 1, 1]);
      },
      ["a", "b", "c"],
    ));

  test("a NIC that nobody has any more is had by whom is prepared only when that is asked to", () =>
    withFleet(wired, async ({ first, second, claim, ...fleet }) => {
      await first.attach("vif1.0");
      first.learn("vif1.0");
      await second.attach("vif2.0", "prepare");
      first.unplug("vif1.0");
      await fleet.settle();
      const knows = expect.arrayContaining([expect.stringContaining("resolved4/0a000002")]);
      expect([await claim(), second.answering()]).toEqual([{ fence: 1, knows }, 0]);
      expect(second.knows("vif2.0"), "control").toBe(false);
      expect(await outcome(second.attach("vif2.0", "ask"))).toBe("applied");
      expect(second.knows("vif2.0"), "whom the guest spoke to").toBe(true);
      await fleet.settle();
      expect([await claim(), fleet.most()]).toEqual([{ fence: 2, holder: { host: "b", port: "vif2.0" } }, 1]);
      second.unplug("vif2.0");
      await fleet.settle();
      expect(await claim(), "nobody waits for it: it is forgotten").toEqual({ fence: 2 });
    }));

  test("a prepared port that cannot open though its NIC is free keeps it, and opens when it can", () =>
    withFleet(wired, async ({ first, second, claim, ...fleet }) => {
      await first.attach("vif1.0");
      await second.attach("vif2.0", "prepare");
      await first.detach("vif1.0");
      // Behind the store: the first touch of the kernel.
      second.limit(3, "refuse");
      expect(await outcome(second.attach("vif2.0", "ask"))).toBe("KERNEL_REFUSED");
      second.limit(0, "refuse");
      expect(await claim()).toMatchObject({ fence: 2, holder: { host: "b", port: "vif2.0" } });
      await fleet.recover();
      expect([second.answering(), fleet.most()]).toEqual([1, 1]);
    }));

  test("within one host a port that is prepared takes nothing from the one that is open, and nothing along when it gives up", () =>
    withFleet(wired, async ({ first, ...fleet }) => {
      await first.attach("vif1.0");
      const before = first.rules();
      expect(await outcome(first.attach("vif2.0", "prepare"))).toBe("prepared");
      expect(first.rules(), "control").not.toEqual(before);
      await first.detach("vif2.0");
      await fleet.settle();
      expect(first.rules()).toEqual(before);
      await first.attach("vif2.0", "prepare");
      expect(await outcome(first.attach("vif2.0", "ask"))).toBe("applied");
      expect([first.linkOf("vif1.0")?.up, first.linkOf("vif2.0")?.up, fleet.most()]).toEqual([false, true, 1]);
    }));

  test("a prepared port that cannot be had, or goes, leaves the guest where it is", () =>
    withFleet(wired, async ({ first, second, claim }) => {
      await first.attach("vif1.0");
      const held = await claim();
      second.limit(2, "refuse");
      expect(await outcome(second.attach("vif2.0", "prepare"))).toBe("KERNEL_REFUSED");
      second.limit(0, "crash");
      expect(await outcome(second.attach("vif2.0", "prepare")), "control").toBe("prepared");
      second.unplug("vif2.0");
      expect([await claim(), first.answering(), second.answering()]).toEqual([held, 1, 0]);
    }));

  test("a port that is gone, and its agent too: what the kernel still answers goes before the NIC is given on", () =>
    withFleet(wired, async ({ first, second, answering, claim, ...fleet }) => {
      await first.attach("vif1.0");
      first.crash();
      first.unplug("vif1.0");
      expect(await outcome(second.attach("vif2.0", "ask"))).toBe("MOVE_WAITING");
      await first.start();
      await fleet.settle();
      expect([first.answering(), second.answering(), fleet.most()]).toEqual([0, 1, 1]);
      expect(await claim()).toEqual({ fence: 2, holder: { host: "b", port: "vif2.0" } });
    }));

  test("whatever of a detach is refused: the NIC is free only when nothing answers for it any more", async () => {
    let refused = 0;
    for (let nth = 1; nth < 20; nth += 1)
      await withFleet(wired, async ({ first, second, claim, ...fleet }) => {
        await first.attach("vif1.0");
        first.limit(nth, "refuse");
        const detached = await outcome(first.detach("vif1.0"));
        first.limit(0, "refuse");
        if (detached === "KERNEL_REFUSED") refused += 1;
        const isFree = !JSON.stringify(await claim()).includes("holder");
        expect([nth, isFree && first.answering() > 0]).toEqual([nth, false]);
        expect(await outcome(second.attach("vif2.0", "ask"))).toBe("applied");
        await fleet.recover();
        expect([nth, fleet.most(), first.answering(), second.answering()]).toEqual([nth, 1, 0, 1]);
      });
    expect(refused, "control: some were refused").toBeGreaterThan(0);
  });

  test("whoever ends or is refused at any one touch of a move: never two answer, and when all are back one does", async () => {
    const counted = { a: 0, b: 0 };
    await withFleet(wired, async ({ first, second }) => {
      await first.attach("vif1.0");
      const before = { a: first.touches, b: second.touches };
      await second.attach("vif2.0", "ask");
      counted.a = first.touches - before.a;
      counted.b = second.touches - before.b;
    });
    expect(Math.min(counted.a, counted.b), "a move touches both").toBeGreaterThan(3);
    for (const who of ["a", "b"] as const)
      for (const kind of ["crash", "refuse"] as const)
        for (let nth = 1; nth <= counted[who] + 1; nth += 1) await failAt(wired, who, kind, nth);
  }, 120_000);

  test("the same of a move in two steps", async () => {
    let counted = 0;
    await withFleet(wired, async ({ first, second }) => {
      await first.attach("vif1.0");
      const before = second.touches;
      await second.attach("vif2.0", "prepare");
      await second.attach("vif2.0", "ask");
      counted = second.touches - before;
    });
    for (const kind of ["crash", "refuse"] as const)
      for (let nth = 1; nth <= counted + 1; nth += 1) await failAt(wired, "b", kind, nth, ["prepare", "ask"]);
  }, 120_000);
});

// Links have no neighbours on the LAN to tell: their routers are told by routes.
describe.each(wirings.filter((wired) => wired !== "transport"))("%s", (wired) => {
  test("the new host tells the LAN, the old one does not any more", () =>
    withFleet(wired, async ({ first, second }) => {
      await first.attach("vif1.0");
      const before = first.frames.sent.length;
      expect(before, "control: an attach is announced").toBeGreaterThan(0);
      await second.attach("vif2.0", "ask");
      const [told] = second.frames.sent;
      expect(told?.ifindex).toBe(second.linkOf(wired === "brouted" ? "br0" : "eth0")?.ifindex);
      // Sender of a gratuitous ARP.
      expect(told?.bytes.subarray(28, 32)).toEqual(addressOf(wired));
      expect(first.frames.sent.length).toBe(before);
    }));
});

async function failAt(
  wired: Wired,
  who: "a" | "b",
  kind: "crash" | "refuse",
  nth: number,
  steps: readonly MoveKind[] = ["ask"],
): Promise<void> {
  await withFleet(wired, async ({ first, second, answering, claim, ...fleet }) => {
    const where = `${kind} of ${who} at its touch ${nth}`;
    await first.attach("vif1.0");
    (who === "a" ? first : second).limit(nth, kind);
    for (const move of steps) await outcome(second.attach("vif2.0", move));
    await fleet.settle();
    expect(fleet.most(), where).toBe(1);
    for (const host of [first, second]) host.limit(0, "crash");
    await fleet.recover();
    const held = JSON.stringify(await claim());
    expect([fleet.most(), answering()], `${where}: ${held}`).toEqual([1, 1]);
    const holder = held.includes('"host":"a"') && !held.includes('"host":"b"') ? first : second;
    expect(holder.answering(), `${where}: ${held}`).toBe(1);
  });
}

type Step =
  | { readonly kind: "attach"; readonly host: number; readonly port: string; readonly move?: MoveKind }
  | { readonly kind: "detach" | "unplug" | "plug"; readonly host: number; readonly port: string }
  | { readonly kind: "crash" | "start" | "cut" | "heal"; readonly host: number }
  | { readonly kind: "limit"; readonly host: number; readonly touches: number; readonly how: "crash" | "refuse" }
  | { readonly kind: "turns"; readonly turns: number };

const host = fc.integer({ min: 0, max: 2 });
const port = fc.constantFrom("vif1.0", "vif2.0");
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("attach" as const),
      host,
      port,
      move: fc.constantFrom("ask" as const, "ask" as const, "prepare" as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("attach" as const), host, port }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom("detach" as const, "unplug" as const, "plug" as const), host, port }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom("crash" as const, "start" as const, "start" as const, "cut" as const, "heal" as const),
      host,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("limit" as const),
      host,
      touches: fc.integer({ min: 1, max: 40 }),
      how: fc.constantFrom("crash" as const, "refuse" as const),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("turns" as const), turns: fc.integer({ min: 0, max: 30 }) }) },
);

/** Nothing is waited for but turns of the loop, so that what was asked runs on beside what comes next. */
async function play(fleet: Fleet, one: Step): Promise<void> {
  if (one.kind === "turns") return fleet.settle(one.turns).catch(() => undefined);
  const at = fleet.hosts[one.host];
  if (at === undefined) throw new TypeError("no such host");
  switch (one.kind) {
    case "attach":
      void at.attach(one.port, one.move).catch(expected);
      return;
    case "detach":
      void at.detach(one.port).catch(expected);
      return;
    case "limit":
      return at.limit(one.touches, one.how);
    case "plug":
    case "unplug":
      return at[one.kind](one.port);
    default:
      void Promise.resolve(at[one.kind]()).catch(expected);
  }
}

function expected(error: unknown): void {
  if (!(error instanceof GuardError)) throw error;
}

test.each(wirings)(
  "%s: after any history of three hosts never two have answered, and the holder of the claim does",
  async (wired) => {
    let answered = 0;
    let moves = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), (history) =>
        withFleet(
          wired,
          async (fleet) => {
            for (const one of history) await play(fleet, one);
            for (const at of fleet.hosts) at.limit(0, "crash");
            await fleet.recover();
            expect(fleet.most()).toBeLessThanOrEqual(1);
            const held = JSON.stringify((await fleet.claim()) ?? {});
            const holders = fleet.hosts.filter(({ name }) => held.includes(`"holder":{"host":"${name}"`));
            expect([fleet.answering(), held]).toEqual([holders.length, held]);
            for (const at of holders) expect(at.answering(), held).toBe(1);
            answered += fleet.answering();
            if (Number(/"fence":(\d+)/.exec(held)?.[1] ?? 0) > 1) moves += 1;
          },
          ["a", "b", "c"],
        ),
      ),
      { numRuns: 50 },
    );
    expect([answered > 10, moves > 6], `${answered} answered, ${moves} moved`).toEqual([true, true]);
  },
  120_000,
);
