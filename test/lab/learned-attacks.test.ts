/** Who would give or take addresses that he must not: false servers of the LAN, guests, and true servers with false addresses; each beside what is right. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { getLease } from "../../src/lab/dhcp-client.ts";
import { type Sniffer, sniff } from "../../src/lab/sniff.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { sendFrames } from "../../src/lab/trial.ts";
import { parseIpv4 } from "../../src/model/ipv4.ts";
import { type Served, serveDhcp } from "../support/dhcp-servers.ts";
import { applyText, dropsOf, eventually, guestAt, pings } from "../support/guarded-lab.ts";
import { addressingText, type LearnedLab, learnedSite, raiseLearnedLab } from "../support/learned-lab.ts";
import { dhcp4Frame, dhcp4Message, ip4 } from "../support/learning.ts";

const own = process.pid.toString(36);
const FALSE_POOL = ["203.0.113.90", "203.0.113.99"] as const;

let stage: LearnedLab;
let server: Served;
beforeAll(async () => {
  stage = await raiseLearnedLab({ name: `lat${own}`, guests: 2 }, "snoop");
  server = await serveDhcp(stage.lab, "dnsmasq", { box: "neighbour" });
});
afterAll(async () => {
  await server?.stop();
  await stage?.lab.down();
});

const leaseOf = async (guest: GuestBox): Promise<string> => getLease(stage.lab, guest.box, "udhcpc");
const isOf = (address: string, first: number): boolean => {
  const last = Number(address.split(".")[3]) - first;
  return last >= 0 && last < 10;
};

/** A client that gives up after two seconds. */
async function getsNone({ box }: GuestBox): Promise<boolean> {
  const words = ["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "2", "-T", "1", "-s", "/bin/true"];
  return (await stage.lab.exec(box, words, { timeoutMs: 20_000 })).status !== 0;
}

/** An ACK to whoever it may concern, in a frame of its own making. */
function falseAck(to: GuestBox, from: { address: string; mac: GuestBox["mac"] }, cast: "all" | "one"): Uint8Array {
  const address = parseIpv4(from.address) ?? ip4("203.0.113.66");
  const message = dhcp4Message({
    mac: to.mac,
    type: "ack",
    xid: 1,
    serverId: address,
    leaseSeconds: 600,
    fields: { yiaddr: ip4("203.0.113.80") },
  });
  const ends = {
    from: address,
    fromMac: from.mac,
    ...(cast === "all" ? {} : { to: ip4("203.0.113.80"), toMac: to.mac }),
  };
  return dhcp4Frame(message, ends, [67, 68]);
}

const isAnswer = (frame: Uint8Array): boolean =>
  frame[12] === 8 && frame[13] === 0 && frame[35] === 67 && frame[37] === 68;

describe("servers", () => {
  test("one of the LAN that is not named gives nothing, alone or beside the true one, which does (control)", async () => {
    const { lab, guests } = stage;
    const guest = guestAt(guests, 0);
    const rogue = await serveDhcp(lab, "dnsmasq", { box: "gw", pool: FALSE_POOL });
    try {
      for (let i = 0; i < 3; i += 1) expect(isOf(await leaseOf(guest), 70)).toBe(true);
      expect((await dropsOf(stage, guest.port, "to-guest")).get("dhcp-server")).toBeGreaterThan(0);
      await server.stop();
      expect(await getsNone(guest)).toBe(true);
    } finally {
      await rogue.stop();
      server = await serveDhcp(lab, "dnsmasq", { box: "neighbour" });
    }
    expect(isOf(await leaseOf(guest), 70)).toBe(true);
  });

  test("nobody answers in the server's name: not with its address, not with its MAC, to one or to all, unasked or as a guest", async () => {
    const { lab, client, guests } = stage;
    const [guest, liar] = [guestAt(guests, 0), guestAt(guests, 1)];
    const { neighbour, gateway } = lab.topology;
    await leaseOf(liar);
    const ear = await sniff(lab, guest.box);
    try {
      const before = (await client.status()).learning.refused["not-asked"] ?? 0;
      for (const cast of ["all", "one"] as const) {
        await sendFrames(lab, "gw", [
          falseAck(guest, { address: neighbour.address, mac: gateway.mac }, cast),
          falseAck(guest, gateway, cast),
          falseAck(guest, neighbour, cast),
        ]);
        await sendFrames(lab, liar.box, [falseAck(guest, liar, cast), falseAck(guest, neighbour, cast)]);
      }
      const isCounted = async (): Promise<boolean> =>
        ((await client.status()).learning.refused["not-asked"] ?? 0) - before >= 1;
      expect(await eventually(isCounted), "the one that is true but for the question comes as far as the agent").toBe(
        true,
      );
      expect((await dropsOf(stage, liar.port)).get("mac-source")).toBeGreaterThan(0);
      expect(await eventually(async () => (await dropsOf(stage, guest.port, "to-guest")).has("dhcp-server"))).toBe(
        true,
      );
      expect(ear.frames().filter(isAnswer)).toEqual([]);
      await leaseOf(guest);
      expect(await eventually(async () => ear.frames().some(isAnswer)), "control").toBe(true);
    } finally {
      await ear.stop();
    }
  });

  test("a true one whose addresses are not the network's: nothing is given, and the status says why; the rest of its pool is (control)", async () => {
    const { lab, client, guests } = stage;
    const guest = guestAt(guests, 0);
    await server.stop();
    const far = await serveDhcp(lab, "dnsmasq", { box: "neighbour", pool: ["203.0.113.200", "203.0.113.209"] });
    try {
      expect(await getsNone(guest)).toBe(true);
      const { conditions, learning } = await client.status();
      expect(conditions).toContainEqual(expect.objectContaining({ code: "ADDRESS_REFUSED" }));
      expect(learning.refused["out-of-range"]).toBeGreaterThan(0);
    } finally {
      await far.stop();
      server = await serveDhcp(lab, "dnsmasq", { box: "neighbour" });
    }
    expect(isOf(await leaseOf(guest), 70)).toBe(true);
    expect((await client.status()).conditions).toEqual([]);
  });
});

describe("guests", () => {
  test("what is broadcast to one is heard by that one alone", async () => {
    const { lab, guests } = stage;
    const [one, other] = [guestAt(guests, 0), guestAt(guests, 1)];
    const ears: Sniffer[] = [];
    for (const { box } of [one, other]) ears.push(await sniff(lab, box));
    try {
      const words = ["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-B", "-t", "5", "-T", "1", "-s", "/bin/true"];
      expect((await lab.exec(one.box, words, { timeoutMs: 20_000 })).status).toBe(0);
      const heard = (n: number): readonly Uint8Array[] => (ears[n]?.frames() ?? []).filter(isAnswer);
      expect(await eventually(async () => heard(0).length >= 2), "control").toBe(true);
      expect(heard(0).every((frame) => frame[0] === 0xff)).toBe(true);
      expect(heard(1)).toEqual([]);
    } finally {
      for (const ear of ears) await ear.stop();
    }
  });

  test("another's learned address is not to be had by taking it; one's own is (control)", async () => {
    const { lab, guests } = stage;
    const [victim, thief] = [guestAt(guests, 0), guestAt(guests, 1)];
    const [its, mine] = [await leaseOf(victim), await leaseOf(thief)];
    expect(its).not.toBe(mine);
    const { gateway } = lab.topology;
    await lab.must(thief.box, ["ip", "address", "add", `${its}/24`, "dev", "eth0"]);
    try {
      const from = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", "-I"];
      expect((await lab.exec(thief.box, [...from, its, gateway.address])).status).not.toBe(0);
      expect((await lab.exec(thief.box, [...from, mine, gateway.address])).status).toBe(0);
      const drops = await dropsOf(stage, thief.port);
      expect((drops.get("ip4-source") ?? 0) + (drops.get("arp-sender") ?? 0)).toBeGreaterThan(0);
    } finally {
      await lab.must(thief.box, ["ip", "address", "del", `${its}/24`, "dev", "eth0"]);
    }
    expect(await pings(lab, victim.box, gateway.address)).toBe(true);
  });

  test("an address that is given back is shut at once, and so is one whose lease the operator ends", async () => {
    const { lab, client, guests } = stage;
    const guest = guestAt(guests, 0);
    const { gateway, neighbour } = lab.topology;
    const once = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", gateway.address];
    const isOpen = async (): Promise<boolean> => (await lab.exec(guest.box, once)).status === 0;
    const address = await leaseOf(guest);
    expect(await isOpen(), "control").toBe(true);
    const release = dhcp4Message({
      mac: guest.mac,
      type: "release",
      serverId: neighbour.address,
      fields: { ciaddr: ip4(address) },
    });
    const ends = { from: ip4(address), fromMac: guest.mac, to: neighbour.address, toMac: neighbour.mac };
    await sendFrames(lab, guest.box, [dhcp4Frame(release, ends, [68, 67])]);
    expect(await eventually(async () => (await client.leases({})).every((lease) => lease.address !== address))).toBe(
      true,
    );
    expect(await isOpen()).toBe(false);
    const again = await leaseOf(guest);
    expect(await isOpen(), "control").toBe(true);
    await client.releaseLease("lan0", again);
    expect(await isOpen()).toBe(false);
  });

  test("explain says what is missing, and who may give it", async () => {
    const { lab, client, guests } = stage;
    await applyText(stage, learnedSite(lab.topology, addressingText(lab.topology, "snoop")));
    const guest = guestAt(guests, 0);
    const ask = async (phrase: string, direction: "from-guest" | "to-guest" = "from-guest") =>
      (await client.explain({ target: guest.port, direction, phrase })).frames[0];
    expect((await ask("udp 203.0.113.70 > gateway:53"))?.sentence).toMatch(
      /^dropped: no-lease – guest1\/0 has not got an IPv4 address/,
    );
    expect(await ask("dhcp discover")).toMatchObject({ verdict: "answered", answeredBy: "dhcp" });
    expect((await ask("dhcp offer", "to-guest"))?.sentence).toContain(
      "no answer to guest1/0 from a DHCP server of lan0",
    );
    await leaseOf(guest);
    expect(await ask("ping gateway")).toMatchObject({ verdict: "pass" });
  });
});
