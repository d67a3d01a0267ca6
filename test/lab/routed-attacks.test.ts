/** Every lie of the table on a routed port (contract sections 1-3), and those that only a routed port can tell: stopped, counted under their line, with the honest twin routed on. */
import { afterAll, beforeAll, describe, test } from "vitest";
import { attacks } from "../../src/lab/attacks.ts";
import { routedAttacks } from "../../src/lab/attacks-routed.ts";
import type { Bench } from "../../src/lab/trial.ts";
import { parseIpv4 } from "../../src/model/ipv4.ts";
import { expectStopped } from "../support/lies.ts";
import { expectKnownGuests, openLies, type RoutedLab, raiseRoutedLab } from "../support/routed-lab.ts";

const own = process.pid.toString(36);
const elsewhere = parseIpv4("198.51.100.2");
if (elsewhere === undefined) throw new TypeError("address");

/** The host's link-local address on the port is fe80::1, which has a lie of its own below: the one of a bridge is nobody here. */
const elsewhereOnly: readonly string[] = ["host-link-local"];
const table = [...attacks.filter(({ name }) => !elsewhereOnly.includes(name)), ...routedAttacks(elsewhere)];

describe("a guest on a routed port", () => {
  let routed: RoutedLab;
  let bench: Bench;
  beforeAll(async () => {
    routed = await raiseRoutedLab({ name: `rta${own}`, guests: 2 }, { gives: "prefix" });
    bench = await openLies(routed);
  });
  afterAll(async () => {
    await bench?.close();
    await routed?.lab.down();
  });

  test.each(table)("$name is stopped: $says", (attack) => expectStopped(bench, attack));

  test("no lie has changed what the host knows of its guests and its LAN", () => expectKnownGuests(routed));
});
