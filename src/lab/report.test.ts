/** Tables of trials: the verdict is only good when lie, count and truth all are. */
import { expect, test } from "vitest";
import type { Reason } from "../model/reasons.ts";
import { attackNamed } from "./attacks.ts";
import { sumCounts } from "./guarded.ts";
import { isStopped, renderTrials } from "./report.ts";
import type { Trial } from "./trial.ts";

function aTrial(change: Partial<Trial> = {}): Trial {
  const counted = new Map<Reason, number>([["mac-source", 1]]);
  return { attack: attackNamed("foreign-mac"), sent: 1, arrivedAt: [], counted, controlPassed: true, ...change };
}

test("stopped means: nowhere, counted for what it is, and the truth passed", () => {
  expect(isStopped(aTrial(), true)).toBe(true);
  expect(isStopped(aTrial({ arrivedAt: ["gw"] }), true)).toBe(false);
  expect(isStopped(aTrial({ controlPassed: false }), true)).toBe(false);
  expect(isStopped(aTrial({ counted: new Map() }), true)).toBe(false);
  expect(isStopped(aTrial({ counted: new Map([["vlan", 1]]) }), true)).toBe(false);
  expect(isStopped(aTrial({ sent: 2 }), true)).toBe(false);
  expect(isStopped(aTrial({ attack: attackNamed("dhcp-giaddr"), counted: new Map() }), true)).toBe(true);
  expect(isStopped(aTrial({ counted: new Map() }), false)).toBe(true);
  expect(isStopped(aTrial({ arrivedAt: ["gw"] }), false)).toBe(false);
});

test("the table says it in words", () => {
  const trials = [
    aTrial(),
    aTrial({ arrivedAt: ["gw", "guest2"], counted: new Map([["vlan", 2]]), controlPassed: false }),
    aTrial({ attack: attackNamed("dhcp-giaddr"), counted: new Map() }),
  ];
  expect(renderTrials(trials, true)).toBe(
    [
      "  LIE          SENT  ARRIVED        COUNTED AS                      HONEST TWIN",
      "  foreign-mac  1     nowhere        mac-source 1                    passed",
      "  foreign-mac  1     AT gw, guest2  NOT as mac-source but vlan 2    FAILED",
      "  dhcp-giaddr  1     nowhere        (kept by the host's responder)  passed",
    ].join("\n"),
  );
  expect(renderTrials([aTrial()], false)).toContain("nowhere  -           passed");
});

test("drop counts are summed by reason, each direction for itself", () => {
  const row = { port: "vif1.0", guest: "guest1", reason: "vlan", packets: 2, bytes: 80, observed: false } as const;
  const rows = [
    { ...row, direction: "from-guest" },
    { ...row, direction: "from-guest", packets: 3, observed: true },
    { ...row, direction: "to-guest", packets: 7 },
  ] as const;
  expect([...sumCounts(rows)]).toEqual([["vlan", 5]]);
  expect([...sumCounts(rows, "to-guest")]).toEqual([["vlan", 7]]);
});
