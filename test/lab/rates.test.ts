/**
 * Every share of a port (contract section 2, rates): what is more than burst and rate is dropped and counted under its line, what is less passes; set for the network,
 * and otherwise for a NIC. And of the host itself only what the network lists.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AttackContext, arpRequest, discover, ETHER, PROTOCOL, udpTo } from "../../src/lab/attack.ts";
import { dhcp6Solicit, dhcp6To, frame6, solicit, udp6To } from "../../src/lab/attack6.ts";
import { ethernet, ip4 } from "../../src/lab/forge.ts";
import { ip6Of, NEXT, syn, tcp6 } from "../../src/lab/forge6.ts";
import { patience } from "../../src/lab/patience.ts";
import { sniff } from "../../src/lab/sniff.ts";
import { type GuestBox, globalOf } from "../../src/lab/topology.ts";
import { sendFrames } from "../../src/lab/trial.ts";
import { ipv4FromNumber, ipv4ToNumber, parseIpv4 } from "../../src/model/ipv4.ts";
import { parseMac } from "../../src/model/mac.ts";
import type { Reason } from "../../src/model/reasons.ts";
import { toHex } from "../../src/packet/hex.ts";
import {
  dropsOf,
  eventually,
  type GuardedLab,
  guestAt,
  moreThan,
  pings,
  raiseGuardedLab,
} from "../support/guarded-lab.ts";

const own = process.pid.toString(36);
const GROUP = parseIpv4("224.0.0.251");
const GROUP6 = ip6Of("ff02::fb");
const GROUP_MAC = parseMac("01:00:5e:00:00:fb");
if (GROUP === undefined || GROUP_MAC === undefined) throw new TypeError("group");
const PER_SECOND = 10;
const BURST = 30;
const FLOOD = 200;
const share = `{ perSecond: ${PER_SECOND}, burst: ${BURST} }`;

/** Long enough for some frames of every share: on any machine, because the buckets fill by the clock. */
const rest = (): Promise<void> => sleep(1000);

interface Bucket {
  readonly reason: Reason;
  /** By number: which of the guests, whose shares differ. */
  readonly guest: number;
  /** 4 where it is not said. */
  readonly family?: 6;
  readonly frame: (context: AttackContext, n: number) => Uint8Array;
  /** Taken by the host itself, so that nobody else sees it. */
  readonly kept?: boolean;
  readonly perSecond?: number;
  readonly burst?: number;
}

const synTo = (c: AttackContext, n: number): Uint8Array =>
  ethernet(
    c.neighbour.mac,
    c.self.mac,
    ETHER.ip,
    ip4({ from: c.self.address, to: c.neighbour.address, protocol: PROTOCOL.tcp, id: n }, syn(40_000, 9, n)),
  );
function syn6To(c: AttackContext, n: number): Uint8Array {
  const ends = { from: globalOf(c.self), to: globalOf(c.neighbour) };
  return frame6(c, c.neighbour.mac, { ...ends, next: NEXT.tcp }, tcp6(ends, 40_000, 9, n));
}
/** Machines nobody has, so that nobody answers for them. */
const arpTo = (c: AttackContext, n: number): Uint8Array =>
  arpRequest(c, c.self, ipv4FromNumber((ipv4ToNumber(c.gateway.address) & 0xffff_ff00) + 20 + n));

const buckets: readonly Bucket[] = [
  { reason: "rate-arp", guest: 0, frame: arpTo },
  { reason: "rate-nd", guest: 0, frame: (c, n) => solicit({ ...c, serial: n }, ip6Of(`2001:db8:66::7:${n}`)) },
  { reason: "rate-dhcp", guest: 0, kept: true, frame: (c, n) => discover({ ...c, serial: n }) },
  { reason: "rate-multicast", guest: 0, frame: (c, n) => udpTo({ ...c, serial: n }, { to: GROUP, toMac: GROUP_MAC }) },
  { reason: "rate-syn", guest: 0, frame: synTo },
  {
    reason: "rate-dhcp",
    guest: 0,
    family: 6,
    kept: true,
    frame: (c, n) => dhcp6To({ ...c, serial: n }, dhcp6Solicit({ ...c, serial: n })),
  },
  { reason: "rate-multicast", guest: 0, family: 6, frame: (c, n) => udp6To({ ...c, serial: n }, { to: GROUP6 }) },
  { reason: "rate-syn", guest: 0, family: 6, frame: syn6To },
  // The NIC's own setting, not the network's.
  { reason: "rate-arp", guest: 1, frame: arpTo, perSecond: 20, burst: 100 },
  { reason: "rate-packets", guest: 3, frame: (c, n) => udpTo({ ...c, serial: n }), perSecond: 40, burst: 120 },
  { reason: "rate-bytes", guest: 2, frame: (c, n) => udpTo({ ...c, serial: n }) },
];

describe("a port's shares", () => {
  let guarded: GuardedLab;
  beforeAll(async () => {
    const shares = ["arp", "nd", "dhcp", "multicast", "syn"].map((name) => `${name}: ${share}`).join(", ");
    guarded = await raiseGuardedLab(`rat${own}`, 4, {
      network: [`rates: { ${shares} }`, "multicast: [224.0.0.251, 'ff02::fb']", "suppression: false"],
      nics: {
        guest2: "rates: { arp: { perSecond: 20, burst: 100 } }",
        guest4: "rates: { packets: { perSecond: 40, burst: 120 } }",
        // As octets: frames of 60 and a little more.
        guest3: "rates: { bytes: { perSecond: 1000, burst: 2000 } }",
      },
    });
    // Nobody may speak to a machine of the LAN whose answer has not named it.
    const { neighbour } = guarded.lab.topology;
    for (const { box } of guarded.guests)
      for (const address of [neighbour.address, globalOf(neighbour)])
        expect(await eventually(() => pings(guarded.lab, box, address)), `control: ${box} reaches it`).toBe(true);
    await rest();
  });
  afterAll(() => guarded?.lab.down());

  function contextOf(self: GuestBox): AttackContext {
    const { topology } = guarded.lab;
    return { ...topology, self, victim: guestAt(guarded.guests, 2), serial: 1 };
  }

  test.each(buckets.map((bucket, n) => ({ family: 4, ...bucket, n })))(
    "$reason of guest $guest by IPv$family",
    { timeout: patience(60_000) },
    async (bucket) => {
      const { reason, frame, kept = false, perSecond = PER_SECOND, burst = BURST } = bucket;
      const { lab } = guarded;
      const guest = guestAt(guarded.guests, bucket.guest);
      const at = await sniff(lab, "neighbour");
      const frames = Array.from({ length: FLOOD }, (_, n) => frame(contextOf(guest), 1000 * (bucket.n + 1) + n));
      const distinct = bucket.reason === "rate-arp" ? frames.map((_, n) => frame(contextOf(guest), n)) : frames;
      const before = await dropsOf(guarded, guest.port);
      const start = performance.now();
      await sendFrames(lab, guest.box, distinct);
      const seconds = (performance.now() - start) / 1000;
      const dropped = moreThan(before, await dropsOf(guarded, guest.port)).get(reason) ?? 0;
      const passed = FLOOD - dropped;
      if (reason === "rate-bytes") expect(passed, "by octets").toBeLessThan(FLOOD / 2);
      else expect(passed, "no more than the share").toBeLessThanOrEqual(burst + perSecond * (seconds + 1));
      expect(passed, "what may come at once comes").toBeGreaterThanOrEqual(reason === "rate-bytes" ? 10 : burst * 0.8);
      const texts = distinct.map(toHex);
      const arrived = (): number => {
        const seen = new Set(at.frames().map(toHex));
        return texts.filter((text) => seen.has(text)).length;
      };
      if (!kept)
        expect(await eventually(async () => arrived() === passed), `${arrived()} arrived, ${passed} passed`).toBe(true);
      await rest();
      expect(arrived(), "and no more than that").toBe(kept ? 0 : passed);
      const calm = await dropsOf(guarded, guest.port);
      await sendFrames(lab, guest.box, distinct.slice(0, 5));
      expect(moreThan(calm, await dropsOf(guarded, guest.port)).get(reason), "a normal rate passes").toBeUndefined();
      await at.stop();
    },
  );
});

describe("services of the host", () => {
  let guarded: GuardedLab;
  const LISTED = 7777;
  const UNLISTED = 7779;
  beforeAll(async () => {
    guarded = await raiseGuardedLab(`srv${own}`, 1, {
      network: [`hostServices: [{ protocol: tcp, ports: [${LISTED}] }, { protocol: icmp }]`],
    });
    for (const port of [LISTED, UNLISTED])
      await guarded.lab.start(
        "host",
        ["socat", `TCP6-LISTEN:${port},fork,reuseaddr,ipv6only=0`, "SYSTEM:echo hello"],
        `socat-${port}.log`,
      );
  });
  afterAll(() => guarded?.lab.down());

  async function hello(address: string, port: number): Promise<boolean> {
    const target = address.includes(":") ? `TCP6:[${address}]:${port}` : `TCP4:${address}:${port}`;
    const done = await guarded.lab.exec("guest1", ["socat", "-u", `${target},connect-timeout=1`, "-"], {
      timeoutMs: 5000,
    });
    return done.stdout.includes("hello");
  }

  test("only what is listed is reached, by both families", async () => {
    const { lab, guests } = guarded;
    const { host } = lab.topology;
    const guest = guestAt(guests, 0);
    expect(await lab.must("host", ["ip", "-o", "address", "show", "dev", "br0"])).toContain(host.address);
    for (const address of [host.address, host.address6]) {
      expect(await eventually(() => hello(address, LISTED)), `${address}: the listed port`).toBe(true);
      expect(await pings(lab, guest.box, address), `${address}: the listed echo`).toBe(true);
      const before = await dropsOf(guarded, guest.port);
      expect(await hello(address, UNLISTED), `${address}: the other port`).toBe(false);
      expect(moreThan(before, await dropsOf(guarded, guest.port)).get("host") ?? 0).toBeGreaterThan(0);
    }
    const local = await lab.exec("host", ["socat", "-u", `TCP4:127.0.0.1:${UNLISTED}`, "-"], { timeoutMs: 5000 });
    expect(local.stdout, "control: the other port does listen").toContain("hello");
  });
});
