import fc from "fast-check";
import { expect, test } from "vitest";
import { parseHostId, parseInterfaceName } from "../model/names.ts";
import type { NicClaim, PortPlace } from "../model/resources.ts";
import { asked, holdOf, nextFence, released, samePlace, settled, taken } from "./nic-claims.ts";

function place(host: string, port: string): PortPlace {
  const [name, device] = [parseHostId(host), parseInterfaceName(port)];
  if (name === undefined || device === undefined) throw new TypeError(`${host} ${port}`);
  return { host: name, port: device };
}

const [a, b, c] = [place("a", "vif1.0"), place("b", "vif2.0"), place("a", "vif3.0")];
const hold = (claim: NicClaim | undefined, { host, port }: PortPlace, fence: number) =>
  holdOf(claim, host, { port, fence });

test("a NIC goes from hand to hand by its holder alone", () => {
  const first = taken(undefined, a);
  expect(first).toEqual({ fence: 1, holder: a });
  expect([hold(first, a, 1), hold(first, b, 1), hold(undefined, a, 1)]).toEqual(["ours", "lost", "lost"]);
  const moving = asked(first, b);
  expect([hold(moving, a, 1), hold(moving, b, 2), hold(moving, c, 2)]).toEqual(["asked", "waiting", "lost"]);
  const moved = released(moving, a.host, { port: a.port, fence: 1 }, ["resolved4/00"]);
  expect(moved).toEqual({ fence: 2, holder: b, knows: ["resolved4/00"] });
  expect([hold(moved, a, 1), hold(moved, b, 2)]).toEqual(["lost", "ours"]);
  expect(moved === undefined ? undefined : settled(moved)).toEqual({ fence: 2, holder: b });
});

test("who waits gives up without harm; who has no part in it writes nothing", () => {
  const moving = asked(taken(undefined, a), b);
  expect(released(moving, b.host, { port: b.port, fence: 2 })).toEqual({ fence: 1, holder: a });
  expect(released(moving, c.host, { port: c.port, fence: 2 })).toBeUndefined();
  expect(released(moving, b.host, { port: b.port, fence: 3 }), "an old record").toBeUndefined();
  expect(released(taken(undefined, a), a.host, { port: a.port, fence: 1 })).toEqual({ fence: 1 });
});

test("who is prepared has no part in the claim, whatever number it bears", () => {
  const claims = [undefined, taken(undefined, a), taken(undefined, b), asked(taken(undefined, a), b)];
  for (const claim of claims)
    for (const fence of [1, 2]) {
      const own = { port: b.port, fence, prepared: true } as const;
      expect([holdOf(claim, b.host, own), released(claim, b.host, own)]).toEqual(["prepared", undefined]);
    }
  expect(hold(taken(undefined, b), b, 1), "control").toBe("ours");
});

type Deed = { readonly deed: "attach" | "force" | "ask" | "release"; readonly who: number };

/** Each place with the number it was last given, as attachments in the store have it. */
function play(
  deeds: readonly Deed[],
): readonly { readonly claim: NicClaim | undefined; readonly fences: readonly number[] }[] {
  const places = [a, b, c];
  const fences = places.map(() => 0);
  let claim: NicClaim | undefined;
  return deeds.map(({ deed, who }) => {
    const at = places[who];
    const fence = fences[who] ?? 0;
    if (at === undefined) throw new TypeError("no such place");
    const isFree = claim?.holder === undefined;
    if (deed === "force" || (deed === "attach" && isFree)) {
      fences[who] = nextFence(claim);
      claim = taken(claim, at);
    } else if (
      deed === "ask" &&
      claim !== undefined &&
      !isFree &&
      claim.next === undefined &&
      !samePlace(claim.holder, at)
    ) {
      fences[who] = nextFence(claim);
      claim = asked(claim, at);
    } else if (deed === "release") claim = released(claim, at.host, { port: at.port, fence }) ?? claim;
    return { claim, fences: [...fences] };
  });
}

test("whatever is done in whatever order, one at most may answer, and the number never falls", () => {
  const deed = fc.record({ deed: fc.constantFrom("attach", "force", "ask", "release"), who: fc.nat(2) });
  fc.assert(
    fc.property(fc.array(deed, { maxLength: 40 }), (deeds) => {
      let before = 0;
      for (const { claim, fences } of play(deeds)) {
        const holds = [a, b, c].map((at, who) => hold(claim, at, fences[who] ?? 0));
        expect(holds.filter((one) => one === "ours" || one === "asked").length).toBe(
          claim?.holder === undefined ? 0 : 1,
        );
        expect(claim?.fence ?? 0).toBeGreaterThanOrEqual(before);
        before = claim?.fence ?? 0;
      }
    }),
  );
});
