/** Every lie of the table but those of IPv6 on a port whose guest has a private address (contract sections 1-3), and those that only such a guest can tell: stopped, counted, with the honest twin led on. */
import { afterAll, beforeAll, describe, test } from "vitest";
import { attacks } from "../../src/lab/attacks.ts";
import { type NatParties, natAttacks } from "../../src/lab/attacks-nat.ts";
import { routedAttacks } from "../../src/lab/attacks-routed.ts";
import type { Bench } from "../../src/lab/trial.ts";
import { type Ipv4Address, parseIpv4 } from "../../src/model/ipv4.ts";
import { expectStopped } from "../support/lies.ts";
import { raiseNatLab } from "../support/nat-lab.ts";
import { expectKnownGuests, openLies, type RoutedLab } from "../support/routed-lab.ts";

const own = process.pid.toString(36);
function known(text: string): Ipv4Address {
  const address = parseIpv4(text);
  if (address === undefined) throw new TypeError(text);
  return address;
}
const parties: NatParties = {
  own: known("203.0.113.110"),
  others: known("203.0.113.111"),
  nobody: known("10.66.0.77"),
};

// IPv6 is routed as it is on a port of wiring routed, where its lies are told.
const table = [...attacks, ...routedAttacks(known("198.51.100.2")), ...natAttacks(parties)].filter(
  ({ layer }) => layer !== "ipv6",
);

describe("a guest inside", () => {
  let routed: RoutedLab;
  let bench: Bench;
  beforeAll(async () => {
    routed = await raiseNatLab({ name: `nta${own}`, guests: 3 }, () => ({ gives: "prefix" }));
    bench = await openLies(routed);
  });
  afterAll(async () => {
    await bench?.close();
    await routed?.lab.down();
  });

  test.each(table)("$name is stopped: $says", (attack) => expectStopped(bench, attack));

  test("no lie has changed what the host knows of its guests", () => expectKnownGuests(routed));
});
