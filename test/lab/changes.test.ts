/**
 * A thousand changes of the rules while a guest lies thousands of times a second (contract section 5): one transaction per change, so that no moment
 * between two rules is open, and nothing honest is cut either.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { patience } from "../../src/lab/patience.ts";
import { watchBoxes } from "../support/barrage.ts";
import {
  applyText,
  type GuardedLab,
  guestAt,
  raiseGuardedLab,
  type SiteExtras,
  siteText,
} from "../support/guarded-lab.ts";
import { expectNoLeak, laySiege } from "../support/siege.ts";

const CHANGES = 1_000;

let guarded: GuardedLab;
beforeAll(async () => {
  guarded = await raiseGuardedLab(`chg${process.pid.toString(36)}`, 2);
});
afterAll(async () => {
  await guarded?.lab.down();
});

/** Addresses, prefixes, pairs, rates and services come and go; none of them makes a lie of the table true. */
function siteNumber(i: number): SiteExtras {
  const last = 60 + (i % 90);
  const pair = i % 3 === 0 ? `, allowedPairs: [{ address: 203.0.113.${last + 1} }]` : "";
  const rates = `{ arp: ${50 + (i % 7)}, packets: ${100_000 + i} }`;
  const nic = `addresses: [203.0.113.${last}, 198.51.100.${(i % 60) * 4}/30], rates: ${rates}${pair}`;
  const services = i % 2 === 0 ? "[{ protocol: tcp, ports: [9999] }]" : "[]";
  return { network: [`hostServices: ${services}`], nics: { guest1: nic } };
}

async function pingOn(): Promise<() => Promise<string>> {
  const argv = ["ping", "-n", "-q", "-i", "0.05", guestAt(guarded.guests, 1).address];
  const pinging = await guarded.lab.startPiped(guestAt(guarded.guests, 0).box, argv);
  let said = "";
  pinging.stdout.setEncoding("utf8").on("data", (part: string) => {
    said += part;
  });
  return async () => {
    await pinging.stop("SIGINT");
    return said;
  };
}

test(
  "the rules change a thousand times: no lie passes, and nothing honest is cut",
  async () => {
    const siege = await laySiege(guarded);
    const heard = await watchBoxes(guarded.lab, [guestAt(guarded.guests, 0).box]);
    const pinged = await pingOn();
    const begun = siege.barrage.sent();
    for (let i = 0; i < CHANGES; i += 1) await applyText(guarded, siteText(guarded.lab.topology, siteNumber(i)));
    expect(siege.barrage.sent() - begun, "lies told meanwhile").toBeGreaterThan(10_000);
    const said = await pinged();
    const [sent, answered] = /(\d+) packets transmitted, (\d+) received/.exec(said)?.slice(1).map(Number) ?? [];
    expect(sent, "control: it was asked all the time").toBeGreaterThan(100);
    // The last one may have been on its way.
    expect(answered, said).toBeGreaterThanOrEqual((sent ?? 0) - 1);
    expect(heard.leaks(siege.strange), "what is not for the guest").toEqual([]);
    await heard.stop();
    await expectNoLeak(guarded, siege);
    await siege.stop();
  },
  patience(600_000),
);
