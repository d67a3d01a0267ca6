/** Every lie of the table on a routed port (contract sections 1-3), and those that only a routed port can tell: stopped, counted under their line, with the honest twin routed on. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { attacks } from "../../src/lab/attacks.ts";
import { routedAttacks } from "../../src/lab/attacks-routed.ts";
import { countsOf } from "../../src/lab/guarded.ts";
import { type Bench, openBench } from "../../src/lab/trial.ts";
import { parseIpv4 } from "../../src/model/ipv4.ts";
import { guestAt } from "../support/guarded-lab.ts";
import { expectStopped } from "../support/lies.ts";
import { type RoutedLab, raiseRoutedLab } from "../support/routed-lab.ts";

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
    const { lab, agent, guests } = routed;
    const [self, victim] = [guestAt(guests, 0), guestAt(guests, 1)];
    const onHost = (...argv: string[]): Promise<string> => lab.must("host", argv);
    await onHost("ip", "link", "add", "mgmt0", "type", "veth", "peer", "name", "mgmt1", "netns", lab.netns("gw"));
    await onHost("ip", "address", "add", "198.51.100.1/24", "dev", "mgmt0");
    await onHost("ip", "link", "set", "mgmt0", "up");
    const counts = (): ReturnType<typeof countsOf> => countsOf(agent, self.port);
    bench = await openBench(lab, { from: self.box, parties: { self, victim }, counts });
  });
  afterAll(async () => {
    await bench?.close();
    await routed?.lab.down();
  });

  test.each(table)("$name is stopped: $says", (attack) => expectStopped(bench, attack));

  test("no lie has changed what the host knows of its guests and its LAN", async () => {
    const { lab, guests } = routed;
    const known = await lab.must("host", ["ip", "neigh", "show"]);
    for (const { address, mac, port } of guests)
      expect(known).toContain(`${address} dev ${port} lladdr ${mac} PERMANENT`);
    const here = await lab.must("host", ["ip", "neigh", "show", "dev", guestAt(guests, 0).port]);
    const lines = here.trim().split("\n");
    expect(lines.length, here).toBe(3);
    for (const line of lines) expect(line).toContain("PERMANENT");
  });
});
