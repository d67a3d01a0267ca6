/**
 * IPv6 addressing by the host's responder (RFC 8415, RFC 4861) with the clients that guests run, and ARP and ND answered on the port
 * (contract section 2: suppression).
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../src/api/client.ts";
import { dhcp6Clients, getLease6 } from "../../src/lab/dhcp6-client.ts";
import { applySite, ask, attachGuest, startAgent } from "../../src/lab/guarded.ts";
import { addressGuest6, type Lab, raiseLab } from "../../src/lab/raise.ts";
import { type Sniffer, sniff } from "../../src/lab/sniff.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import { GATEWAY6, type GuestBox, globalOf, llOf } from "../../src/lab/topology.ts";
import { dropsOf, eventually, keepsQuestions, killAgent, pings } from "../support/guarded-lab.ts";

const own = process.pid.toString(36);

interface Stage {
  readonly lab: Lab;
  readonly agent: LabAgent;
  readonly guests: readonly [GuestBox, GuestBox];
}

async function raise(name: string): Promise<Stage> {
  const lab = await raiseLab({ name, guests: 2, nic: "veth" });
  const agent = await startAgent(lab);
  await applySite(lab, agent);
  const [one, two] = await Promise.all(
    lab.topology.guests.map(async (guest) => ({ ...guest, mac: await attachGuest(lab, agent, guest) })),
  );
  if (one === undefined || two === undefined) throw new TypeError("two guests were asked for");
  return { lab, agent, guests: [one, two] };
}

describe("a guest that asks for an IPv6 address", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await raise(`six${own}`);
  });
  afterAll(() => stage?.lab.down());

  test.each(dhcp6Clients)("%s gets the address that was decided, and the gateway as its router", async (client) => {
    const { lab, agent, guests } = stage;
    const [guest] = guests;
    expect(await getLease6(lab, guest.box, client)).toEqual({ address: globalOf(guest), gateway: GATEWAY6 });
    expect(await pings(lab, guest.box, globalOf(lab.topology.neighbour)), "the neighbour answers").toBe(true);
    const leases = await ask(agent, ["lease", "list", "-o", "json"]);
    expect(leases, "lease list").toContain(globalOf(guest));
    // The other guest's questions whether its own addresses are free come here too, and are not for this one.
    const dropped = await dropsOf({ client: connect(agent.socket) }, guest.port, "to-guest");
    const reasons = [...dropped.keys()].filter((reason) => reason !== "not-for-guest");
    expect(reasons, "nothing that the host itself says is dropped").toEqual([]);
  });

  test("a released address is noted, and given again", async () => {
    const { lab, agent, guests } = stage;
    const [, guest] = guests;
    await getLease6(lab, guest.box, "dhclient");
    const files = ["-cf", "/dev/null", "-sf", "/bin/true", "-lf", `${lab.directory}/${guest.box}-dhcp6/leases`];
    const release = [
      "dhclient",
      "-6",
      "-r",
      "-d",
      ...files,
      "-pf",
      `${lab.directory}/${guest.box}-release.pid`,
      "eth0",
    ];
    await lab.exec(guest.box, release, { timeoutMs: 10_000 });
    const rows: unknown = JSON.parse(await ask(agent, ["lease", "list", "-o", "json"]));
    expect(rows).toContainEqual(expect.objectContaining({ address: globalOf(guest), state: "released" }));
    expect((await getLease6(lab, guest.box, "dhclient")).address).toBe(globalOf(guest));
  });
});

describe("questions whose answer the host knows", () => {
  let stage: Stage;
  let wire: Sniffer;
  beforeAll(async () => {
    stage = await raise(`sup${own}`);
    for (const guest of stage.guests) {
      await stage.lab.must(guest.box, ["ip", "address", "add", `${guest.address}/24`, "dev", "eth0"]);
      await addressGuest6(stage.lab, guest);
    }
    wire = await sniff(stage.lab, "neighbour");
    expect(await eventually(isKept), "the agent says that it answers").toBe(true);
  });
  afterAll(async () => {
    await wire?.stop();
    await stage?.lab.down();
  });

  const isKept = (): Promise<boolean> => keepsQuestions(stage.lab);

  const ARP_REQUEST = (bytes: Uint8Array, address: string): boolean =>
    bytes[12] === 8 && bytes[13] === 6 && bytes[21] === 1 && bytes.subarray(38, 42).join(".") === address;
  const isSolicitation = (bytes: Uint8Array): boolean => bytes[12] === 0x86 && bytes[54] === 135;
  const lastOctets = (bytes: Uint8Array, mac: string): boolean =>
    Buffer.from(bytes.subarray(75, 78)).toString("hex") === mac.replaceAll(":", "").slice(6);

  async function forgetNeighbours(guest: GuestBox): Promise<void> {
    await stage.lab.must(guest.box, ["ip", "neigh", "flush", "all"]);
  }

  test("ARP for another guest is answered here; ARP for a machine of the LAN goes out (control)", async () => {
    const { lab, guests } = stage;
    const [self, other] = guests;
    await forgetNeighbours(self);
    expect(await pings(lab, self.box, other.address)).toBe(true);
    expect(await pings(lab, self.box, lab.topology.neighbour.address)).toBe(true);
    const isHeard = (address: string): boolean => wire.frames().some((bytes) => ARP_REQUEST(bytes, address));
    const aloud = await eventually(async () => isHeard(lab.topology.neighbour.address));
    expect(aloud, "control: asked aloud").toBe(true);
    expect(isHeard(other.address), "kept on the port").toBe(false);
    const known = await lab.must(self.box, ["ip", "neigh", "show", other.address]);
    expect(known).toContain(other.mac);
  });

  test("the same for neighbour discovery", async () => {
    const { lab, guests } = stage;
    const [self, other] = guests;
    await forgetNeighbours(self);
    expect(await pings(lab, self.box, globalOf(other))).toBe(true);
    expect(await pings(lab, self.box, globalOf(lab.topology.neighbour))).toBe(true);
    const isHeard = (mac: string): boolean =>
      wire.frames().some((bytes) => isSolicitation(bytes) && lastOctets(bytes, mac));
    const aloud = await eventually(async () => isHeard(lab.topology.neighbour.mac));
    expect(aloud, "control: asked aloud").toBe(true);
    expect(isHeard(other.mac), "kept on the port").toBe(false);
    expect(await lab.must(self.box, ["ip", "neigh", "show", globalOf(other)])).toContain(other.mac);
    expect(await lab.must(self.box, ["ip", "neigh", "show"])).not.toContain(llOf(lab.topology.gateway));
  });

  test("an agent that is gone keeps no question back, and one that is there again does", async () => {
    const { lab, guests } = stage;
    const [self, other] = guests;
    const isAsked = (since: number, { address }: { readonly address: string } = other): boolean =>
      wire
        .frames()
        .slice(since)
        .some((bytes) => ARP_REQUEST(bytes, address));
    const ask = async (): Promise<void> => {
      await forgetNeighbours(self);
      expect(await pings(lab, self.box, other.address)).toBe(true);
    };
    await killAgent(lab);
    expect(await eventually(async () => !(await isKept())), "two seconds later at most").toBe(true);
    let since = wire.frames().length;
    await ask();
    expect(await eventually(async () => isAsked(since)), "asked aloud now").toBe(true);
    await startAgent(lab);
    expect(await eventually(isKept), "the next agent says that it answers").toBe(true);
    since = wire.frames().length;
    await ask();
    expect(await pings(lab, self.box, lab.topology.neighbour.address), "control: whose question is heard").toBe(true);
    expect(await eventually(async () => isAsked(since, lab.topology.neighbour))).toBe(true);
    expect(isAsked(since), "kept on the port again").toBe(false);
  });
});
