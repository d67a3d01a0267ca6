/** Addresses that other DHCP servers give, with the real servers and the real clients, by relay and by snooping; and an agent that dies meanwhile. */
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DhcpClient, getLease } from "../../src/lab/dhcp-client.ts";
import { type Dhcp6Client, getLease6 } from "../../src/lab/dhcp6-client.ts";
import { startAgent } from "../../src/lab/guarded.ts";
import { type GuestBox, globalOf, llOf } from "../../src/lab/topology.ts";
import { firstOf, type Served, type Server4, serveDhcp } from "../support/dhcp-servers.ts";
import { dropsOf, eventually, guestAt, killAgent, listSet, pings } from "../support/guarded-lab.ts";
import { type LearnedLab, raiseLearnedLab } from "../support/learned-lab.ts";

const own = process.pid.toString(36);
const kinds = ["relay", "snoop"] as const;
type Kind = (typeof kinds)[number];

/** Every client once with each family; the slow ones (dhcpcd looks for five seconds whether its address is free) not with every server. */
const rows: readonly (readonly [Server4, readonly DhcpClient[], Dhcp6Client])[] = [
  ["kea", ["udhcpc", "dhclient"], "dhclient"],
  ["dhcpd", ["udhcpc", "dhclient"], "dhcpcd"],
  ["dnsmasq", ["udhcpc", "dhclient", "dhcpcd"], "systemd-networkd"],
];
/** Who asks by DHCPv6. */
const SIX = 3;

const lastOf = (address: string): number => Number(address.split(".")[3]);

/** As one that never had a lease: what it remembers would be another server's. */
async function startAfresh({ lab }: LearnedLab, guest: GuestBox): Promise<void> {
  rmSync(`${lab.directory}/${guest.box}.leases`, { force: true });
  await lab.must(guest.box, ["ip", "address", "flush", "dev", "eth0", "scope", "global"]);
}

const portOf = async ({ client }: LearnedLab, guest: GuestBox) =>
  (await client.status()).ports.find(({ port }) => port === guest.port);

const stages = new Map<Kind, LearnedLab>();
function stageOf(kind: Kind): LearnedLab {
  const stage = stages.get(kind);
  if (stage === undefined) throw new TypeError(`no lab for ${kind}`);
  return stage;
}
/** In both labs at once: it is mostly waiting. Over when both are, so that nothing of one test reaches into the next. */
async function inBoth(work: (kind: Kind, stage: LearnedLab) => Promise<void>): Promise<void> {
  const done = await Promise.allSettled(kinds.map((kind) => work(kind, stageOf(kind))));
  for (const one of done) if (one.status === "rejected") throw one.reason;
}

beforeAll(async () => {
  for (const kind of kinds) stages.set(kind, await raiseLearnedLab({ name: `${kind}${own}`, guests: 4 }, kind));
});
afterAll(async () => {
  for (const { lab } of stages.values()) await lab.down();
});

test("before its first lease a guest reaches nobody, whatever address it takes", () =>
  inBoth(async (kind, stage) => {
    const { lab, guests } = stage;
    const guest = guestAt(guests, 0);
    const nothing = { addresses4: [], addresses6: [], learns: kind, state: "applied" };
    expect(await portOf(stage, guest)).toMatchObject(nothing);
    await lab.must(guest.box, ["ip", "address", "add", "203.0.113.50/24", "dev", "eth0"]);
    const ping = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1"];
    expect((await lab.exec(guest.box, [...ping, lab.topology.gateway.address])).status).not.toBe(0);
    expect((await lab.exec(guest.box, [...ping, `${llOf(lab.topology.gateway)}%eth0`])).status).not.toBe(0);
    expect((await dropsOf(stage, guest.port)).get("no-lease")).toBeGreaterThan(1);
  }));

describe.each(rows)("%s", (name, clients, client6) => {
  const servers: Served[] = [];
  beforeAll(() =>
    inBoth(async (_, { lab }) => {
      servers.push(await serveDhcp(lab, name, { box: "neighbour" }));
    }),
  );
  afterAll(async () => {
    for (const server of servers) await server.stop();
  });

  async function getsAddress(kind: Kind, n: number, program: DhcpClient): Promise<void> {
    const stage = stageOf(kind);
    const { lab, client } = stage;
    const guest = guestAt(stage.guests, n);
    await startAfresh(stage, guest);
    const address = await getLease(lab, guest.box, program);
    expect(Math.floor(lastOf(address) / 10) * 10).toBe(firstOf[name]);
    expect(await portOf(stage, guest)).toMatchObject({ addresses4: [address] });
    const learned = { by: kind, server: lab.topology.neighbour.address };
    expect(await client.leases({})).toContainEqual(
      expect.objectContaining({ address, guest: guest.box, state: "bound", learned }),
    );
    expect(await pings(lab, guest.box, lab.topology.gateway.address), "control: it speaks").toBe(true);
    expect([...(await dropsOf(stage, guest.port)).keys()]).not.toContain("ip4-source");
  }

  async function getsAddress6(kind: Kind): Promise<void> {
    const stage = stageOf(kind);
    const guest = guestAt(stage.guests, SIX);
    const { address } = await getLease6(stage.lab, guest.box, client6);
    expect(address).toMatch(new RegExp(`^2001:db8:66::${firstOf[name]}[0-9a-f]{2}$`));
    expect(await portOf(stage, guest)).toMatchObject({ addresses6: [address] });
    expect(await pings(stage.lab, guest.box, globalOf(stage.lab.topology.neighbour)), "control").toBe(true);
  }

  test(`gives addresses to ${clients.join(", ")} and, of IPv6, to ${client6}, who speak with them`, () =>
    inBoth(async (kind) => {
      await Promise.all([getsAddress6(kind), ...clients.map((program, n) => getsAddress(kind, n, program))]);
    }));
});

test("a client that goes on renews by unicast, and its lease with it", () =>
  inBoth(async (_, stage) => {
    const { lab, client, guests } = stage;
    const guest = guestAt(guests, 2);
    const served = await serveDhcp(lab, "kea", { box: "neighbour", leaseSeconds: 6 });
    await startAfresh(stage, guest);
    const script = `${lab.directory}/dhcp-script`;
    // udhcpc takes no lease to be shorter than two minutes.
    const files = [
      "-cf",
      "/dev/null",
      "-lf",
      `${lab.directory}/renewing.leases`,
      "-pf",
      `${lab.directory}/renewing.pid`,
    ];
    const words = ["dhclient", "-4", "-d", "-sf", script, ...files, "eth0"];
    const running = await lab.start(guest.box, words, "renewing.log");
    const leaseOf = async () =>
      (await client.leases({})).find((lease) => lease.guest === guest.box && lease.address.includes("."));
    try {
      const isOfKea = async (): Promise<boolean> => lastOf((await leaseOf())?.address ?? "0.0.0.0") < firstOf.dhcpd;
      expect(await eventually(isOfKea)).toBe(true);
      const first = await leaseOf();
      const isLater = async (): Promise<boolean> =>
        ((await leaseOf())?.expiresAt ?? 0) > (first?.expiresAt ?? 0) + 1000;
      expect(await eventually(isLater)).toBe(true);
      expect((await leaseOf())?.address).toBe(first?.address);
      expect(await pings(lab, guest.box, lab.topology.gateway.address)).toBe(true);
      expect([...(await dropsOf(stage, guest.port)).keys()]).not.toContain("dest-mac");
    } finally {
      await running.stop("SIGKILL");
      await served.stop();
    }
  }));

test("an agent that is killed shuts nobody before his lease is over, and everybody then", () =>
  inBoth(async (_, stage) => {
    const { lab, guests } = stage;
    const [short, long] = [guestAt(guests, 0), guestAt(guests, 1)];
    const hears = ({ box }: GuestBox): Promise<boolean> => pings(lab, box, lab.topology.gateway.address);
    const kept = (await portOf(stage, long))?.addresses4;
    const hasty = await serveDhcp(lab, "kea", { box: "neighbour", leaseSeconds: 5 });
    await startAfresh(stage, short);
    await getLease(lab, short.box, "udhcpc");
    await hasty.stop();
    expect(await hears(short), "control").toBe(true);
    await killAgent(lab);
    const isListed = async (): Promise<boolean> => (await listSet(lab, "leased4")).includes(`"${short.port}"`);
    expect([await isListed(), await hears(long)], "control").toEqual([true, true]);
    expect(await eventually(async () => !(await isListed()))).toBe(true);
    const once = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", lab.topology.gateway.address];
    expect((await lab.exec(short.box, once)).status, "its lease is over").not.toBe(0);
    expect(await hears(long), "control: another's is not").toBe(true);
    await startAgent(lab);
    expect((await portOf(stage, long))?.addresses4).toEqual(kept);
    expect((await portOf(stage, short))?.addresses4).toEqual([]);
    expect(await hears(long)).toBe(true);
  }));
