/** Every lie of the table on a port that is a link of its own (contract sections 1-3), and those that only such a port can tell: stopped, counted under their line, with the honest twin routed on. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Attack, arpRequest, honestArp } from "../../src/lab/attack.ts";
import { attacks } from "../../src/lab/attacks.ts";
import { routedAttacks } from "../../src/lab/attacks-routed.ts";
import type { Bench } from "../../src/lab/trial.ts";
import { type Ipv4Address, parseIpv4 } from "../../src/model/ipv4.ts";
import { link4At } from "../../src/model/transport.ts";
import { guestAt } from "../support/guarded-lab.ts";
import { expectStopped } from "../support/lies.ts";
import { expectKnownGuests, openLies, type RoutedLab, raiseRoutedLab } from "../support/routed-lab.ts";

const own = process.pid.toString(36);

function known(text: string): Ipv4Address {
  const address = parseIpv4(text);
  if (address === undefined) throw new TypeError(text);
  return address;
}

/** The first guest's link is the first of the pool, the second's the next. */
const [left, otherLeft] = [known("192.0.2.0"), known("192.0.2.2")];

function asksFor(name: string, says: string, target: (c: Parameters<Attack["build"]>[0]) => Ipv4Address): Attack {
  const build: Attack["build"] = (c) => [arpRequest(c, c.self, target(c))];
  return { name, layer: "arp", says, reason: "arp-target", build, control: honestArp };
}

/** Of a bridge's link-local address there is none here: the port's is fe80::1, which has a lie of its own. */
const elsewhereOnly: readonly string[] = ["host-link-local"];
const table: readonly Attack[] = [
  ...attacks.filter(({ name }) => !elsewhereOnly.includes(name)),
  ...routedAttacks(known("198.51.100.2"), left),
  asksFor("arp-other-link", "asks for the host's end of another guest's link", () => otherLeft),
  asksFor("arp-other-guest", "asks for another guest of the pool", (c) => c.victim.address),
  asksFor("arp-host", "asks for the host's address on the LAN", (c) => c.host.address),
];

describe("a guest on a link of its own", () => {
  let routed: RoutedLab;
  let bench: Bench;
  beforeAll(async () => {
    routed = await raiseRoutedLab({ name: `tpa${own}`, guests: 2, wiring: "transport" });
    const [self, victim] = [guestAt(routed.guests, 0), guestAt(routed.guests, 1)];
    expect([link4At(self.address, 31).left, link4At(victim.address, 31).left]).toEqual([left, otherLeft]);
    bench = await openLies(routed, 20);
  });
  afterAll(async () => {
    await bench?.close();
    await routed?.lab.down();
  });

  test.each(table)("$name is stopped: $says", (attack) => expectStopped(bench, attack));

  test("no lie has changed what the host knows of its guests", () => expectKnownGuests(routed));
});
