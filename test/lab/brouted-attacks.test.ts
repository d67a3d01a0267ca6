/** Every lie of the table on a brouted port (contract sections 1-3), and those that only a brouted port can tell: stopped, counted under their line, with the honest twin routed on. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { attacks } from "../../src/lab/attacks.ts";
import { broutedAttacks } from "../../src/lab/attacks-brouted.ts";
import { HOST_BRIDGE } from "../../src/lab/topology.ts";
import type { Bench } from "../../src/lab/trial.ts";
import { parseIpv4 } from "../../src/model/ipv4.ts";
import { raiseBroutedLab } from "../support/brouted-lab.ts";
import { guestAt } from "../support/guarded-lab.ts";
import { expectStopped } from "../support/lies.ts";
import { openLies, type RoutedLab } from "../support/routed-lab.ts";

const own = process.pid.toString(36);
const elsewhere = parseIpv4("198.51.100.2");
if (elsewhere === undefined) throw new TypeError("address");
const table = [...attacks, ...broutedAttacks(elsewhere)];

describe("a guest on a brouted port", () => {
  let brouted: RoutedLab;
  let bench: Bench;
  beforeAll(async () => {
    brouted = await raiseBroutedLab({ name: `bra${own}`, guests: 2 });
    // Whatever passes has come when the truth behind it has.
    bench = await openLies(brouted, 15);
  });
  afterAll(async () => {
    await bench?.close();
    await brouted?.lab.down();
  });

  test.each(table)("$name is stopped: $says", (attack) => expectStopped(bench, attack));

  test("no lie has changed what the host knows of its guests and its LAN", async () => {
    const { lab, guests } = brouted;
    const known = await lab.must("host", ["ip", "neigh", "show", "dev", HOST_BRIDGE]);
    for (const { address, mac } of guests) expect(known).toContain(`${address} lladdr ${mac} PERMANENT`);
    const { neighbour, gateway } = lab.topology;
    const foreign = known
      .split("\n")
      .filter((line) => line.includes("lladdr") && !line.includes("PERMANENT"))
      .filter((line) => ![neighbour.mac, gateway.mac].some((mac) => line.includes(mac)));
    expect(foreign).toEqual([]);
    const entries = await lab.must("host", ["bridge", "fdb", "show", "br", HOST_BRIDGE]);
    expect(entries).toContain(`${guestAt(guests, 1).mac} dev ${guestAt(guests, 1).port}`);
  });
});
