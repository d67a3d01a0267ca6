/**
 * A gateway whose MAC the operator has pinned (contract section 3): nobody else on the LAN is believed to be it, and what guests ask for it, or for each other,
 * is answered on the port and not heard outside (section 2, suppression) unless the network has that switched off.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AttackContext, arpReply, arpRequest } from "../../src/lab/attack.ts";
import { ALL_NODES, echoTo, icmp6To } from "../../src/lab/attack6.ts";
import {
  ICMP6,
  ip6Of,
  linkLayer,
  ND_OPTION,
  neighbourMessage,
  prefixOption,
  routerAdvertisement,
} from "../../src/lab/forge6.ts";
import { type Sniffer, sniff } from "../../src/lab/sniff.ts";
import { GATEWAY6, type GuestBox, planLab } from "../../src/lab/topology.ts";
import { sendFrames } from "../../src/lab/trial.ts";
import { ipv4ToBytes } from "../../src/model/ipv4.ts";
import { ipv6ToBytes } from "../../src/model/ipv6.ts";
import type { Reason } from "../../src/model/reasons.ts";
import {
  applyExtras,
  dropsOf,
  eventually,
  type GuardedLab,
  guestAt,
  keepsQuestions,
  moreThan,
  pings,
  raiseGuardedLab,
} from "../support/guarded-lab.ts";

const name = `gwp${process.pid.toString(36)}`;
const pinned = `gatewayMac: ${planLab({ name, guests: 2, nic: "veth" }).gateway.mac}`;

let guarded: GuardedLab;
let guest: GuestBox;
let other: GuestBox;
let wire: Sniffer;
let at: Sniffer;
beforeAll(async () => {
  guarded = await raiseGuardedLab(name, 2, { network: [pinned] });
  [guest, other] = [guestAt(guarded.guests, 0), guestAt(guarded.guests, 1)];
  wire = await sniff(guarded.lab, "gw");
  at = await sniff(guarded.lab, guest.box);
});
afterAll(async () => {
  await wire?.stop();
  await at?.stop();
  await guarded?.lab.down();
});

/** One machine of the LAN speaks, to the guest. */
function spoken(by: "neighbour" | "gw", serial: number): AttackContext {
  const { neighbour, gateway, host, prefix4 } = guarded.lab.topology;
  return { self: by === "gw" ? gateway : neighbour, gateway, neighbour: guest, victim: other, host, prefix4, serial };
}

/** What says "I am the gateway", in every way there is. */
function claims(c: AttackContext): readonly (readonly [string, Reason, Uint8Array])[] {
  const { address } = guarded.lab.topology.gateway;
  const self = { mac: c.self.mac, address };
  const advertisement = neighbourMessage(
    ICMP6.neighbourAdvertisement,
    GATEWAY6,
    [linkLayer(ND_OPTION.target, c.self.mac)],
    0x20,
  );
  const router = routerAdvertisement(1800, [
    prefixOption(ip6Of("2001:db8:66::"), 64),
    linkLayer(ND_OPTION.source, c.self.mac),
  ]);
  return [
    ["announces the gateway's address", "arp-sender", arpRequest(c, self, address)],
    ["answers for the gateway", "arp-sender", arpReply(c, self, guest)],
    ["advertises the gateway's IPv6 address", "nd", icmp6To(c, advertisement, { from: GATEWAY6, to: ALL_NODES })],
    ["advertises itself as the router", "ra", icmp6To(c, router, { from: GATEWAY6, to: ALL_NODES })],
  ];
}

describe("who the gateway is", () => {
  test("no other machine is believed to be it, and it is believed itself", async () => {
    const { lab } = guarded;
    expect(await pings(lab, guest.box, lab.topology.gateway.address), "control: it is known").toBe(true);
    expect(await pings(lab, guest.box, `${GATEWAY6}%eth0`), "control: by IPv6 too").toBe(true);
    for (const [says, reason, lie] of claims(spoken("neighbour", 1))) {
      const before = await dropsOf(guarded, guest.port, "to-guest");
      const truth = echoTo(spoken("neighbour", 100 + at.frames().length));
      await sendFrames(lab, "neighbour", [lie, truth]);
      expect(await eventually(async () => at.has(truth)), `control behind: ${says}`).toBe(true);
      expect(at.has(lie), says).toBe(false);
      expect([...moreThan(before, await dropsOf(guarded, guest.port, "to-guest")).keys()], says).toContain(reason);
    }
    for (const [says, , truth] of claims(spoken("gw", 2))) {
      await sendFrames(lab, "gw", [truth]);
      expect(await eventually(async () => at.has(truth)), `of the gateway: ${says}`).toBe(true);
    }
    for (const address of [lab.topology.gateway.address, GATEWAY6])
      expect(await lab.must(guest.box, ["ip", "neighbour", "show", address])).toContain(lab.topology.gateway.mac);
  });
});

describe("what guests ask", () => {
  const isArpFor = (frame: Uint8Array, address: Uint8Array): boolean =>
    frame[12] === 8 && frame[13] === 6 && frame[21] === 1 && frame.subarray(38, 42).join() === address.join();
  const isSolicitationFor = (frame: Uint8Array, address: Uint8Array): boolean =>
    frame[12] === 0x86 && frame[54] === 135 && frame.subarray(62, 78).join() === address.join();

  /** Of the gateway by both families and of the other guest: which questions the LAN heard, the guest having asked anew and been answered. */
  async function heard(): Promise<readonly string[]> {
    const { lab } = guarded;
    const { gateway, neighbour } = lab.topology;
    await lab.must(guest.box, ["ip", "neighbour", "flush", "dev", "eth0"]);
    const since = wire.frames().length;
    const asked: readonly (readonly [string, string])[] = [
      [gateway.address, "the gateway"],
      [`${GATEWAY6}%eth0`, "the gateway by IPv6"],
      [other.address, "the other guest"],
      [neighbour.address, "the neighbour"],
    ];
    for (const [address, who] of asked) expect(await pings(lab, guest.box, address), `${who} answers`).toBe(true);
    const isHeard = (fits: (frame: Uint8Array) => boolean): boolean => wire.frames().slice(since).some(fits);
    const questions: readonly (readonly [string, (frame: Uint8Array) => boolean])[] = [
      ["the gateway", (frame) => isArpFor(frame, ipv4ToBytes(gateway.address))],
      ["the gateway by IPv6", (frame) => isSolicitationFor(frame, ipv6ToBytes(GATEWAY6))],
      ["the other guest", (frame) => isArpFor(frame, ipv4ToBytes(other.address))],
      ["the neighbour", (frame) => isArpFor(frame, ipv4ToBytes(neighbour.address))],
    ];
    expect(await eventually(async () => isHeard(questions[3]?.[1] ?? (() => false))), "control: the LAN hears").toBe(
      true,
    );
    return questions.filter(([, fits]) => isHeard(fits)).map(([who]) => who);
  }

  const isKept = (): Promise<boolean> => keepsQuestions(guarded.lab);

  test("is answered on the port where the host knows it, and aloud where the network says so", async () => {
    const all: readonly string[] = ["the gateway", "the gateway by IPv6", "the other guest", "the neighbour"];
    expect(await eventually(isKept)).toBe(true);
    expect(await heard()).toEqual(["the neighbour"]);
    await applyExtras(guarded, { network: [pinned, "suppression: false"] });
    expect(await eventually(async () => !(await isKept()))).toBe(true);
    expect(await heard()).toEqual(all);
    await applyExtras(guarded, { network: [pinned] });
    expect(await eventually(isKept)).toBe(true);
    expect(await heard()).toEqual(["the neighbour"]);
  });
});
