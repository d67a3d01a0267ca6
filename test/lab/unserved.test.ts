/** Guests that are configured by hand (`addressing: static`): the guard holds them to their address, and nobody answers what they ask for. */
import { expect, test } from "vitest";
import { getLease } from "../../src/lab/dhcp-client.ts";
import type { Lab } from "../../src/lab/raise.ts";
import {
  applyText,
  dropsOf,
  eventually,
  type GuardedLab,
  guestAt,
  moreThan,
  pings,
  raiseGuardedLab,
  siteText,
} from "../support/guarded-lab.ts";

const own = process.pid.toString(36);
const MANAGED = "{ kind: managed, macScheme: ip }";
const STATIC = "{ kind: static, macScheme: ip }";

const unserved = async ({ client }: GuardedLab): Promise<number> =>
  (await client.status()).dhcp.silent["unserved"] ?? 0;

const IMPATIENT = ["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "2", "-T", "1", "-s", "/bin/true"];

/** The route that a router advertisement made. */
async function hearsRouter(lab: Lab): Promise<boolean> {
  await lab.exec("guest1", ["ip", "link", "set", "eth0", "down"]);
  await lab.must("guest1", ["ip", "link", "set", "eth0", "up"]);
  return eventually(async () => (await lab.must("guest1", ["ip", "-6", "route", "show", "proto", "ra"])) !== "", 3_000);
}

test("a static guest is held to its address, and neither DHCP nor router advertisements are for it", async () => {
  const guarded = await raiseGuardedLab(`sta${own}`, 1);
  const { lab } = guarded;
  try {
    const guest = guestAt(guarded.guests, 0);
    const text = siteText(lab.topology);
    expect(await hearsRouter(lab), "control: managed").toBe(true);

    await applyText(guarded, text.replace(MANAGED, STATIC));
    await lab.must("guest1", ["ip", "-6", "route", "flush", "proto", "ra"]);
    expect(await hearsRouter(lab)).toBe(false);
    await lab.must("guest1", ["ip", "address", "replace", `${guest.address}/24`, "dev", "eth0"]);
    expect(await pings(lab, guest.box, lab.topology.neighbour.address), "its own address").toBe(true);

    const before = await dropsOf(guarded, guest.port);
    await lab.must("guest1", ["ip", "address", "replace", "203.0.113.99/24", "dev", "eth0"]);
    const far = lab.topology.neighbour.address;
    await lab.exec("guest1", ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-I", "203.0.113.99", far]);
    const refused = moreThan(before, await dropsOf(guarded, guest.port));
    expect([...refused.keys()].some((reason) => reason === "ip4-source" || reason === "arp-sender")).toBe(true);

    await lab.must("guest1", ["ip", "-4", "address", "flush", "dev", "eth0"]);
    const asked = await unserved(guarded);
    expect((await lab.exec("guest1", IMPATIENT)).status, "no lease").not.toBe(0);
    expect((await unserved(guarded)) - asked, "counted").toBeGreaterThan(0);

    await applyText(guarded, text);
    expect((await lab.exec("guest1", IMPATIENT)).status, "control: the same client, managed again").toBe(0);
    expect(await getLease(lab, "guest1", "udhcpc")).toBe(guest.address);
  } finally {
    await lab.down();
  }
});
