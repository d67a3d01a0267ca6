/**
 * What hosts announce of their guests, with the real daemons and the configurations that are exported for them: BIRD and FRR at once, each with another protocol
 * and a router of its own, until both have spoken each. A machine beyond the router finds the guest by what was announced and by nothing else.
 */
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RoutingProtocol } from "../../src/export/speaker.ts";
import { must } from "../../src/lab/exec.ts";
import { ask, attachGuest, startAgent } from "../../src/lab/guarded.ts";
import { patience } from "../../src/lab/patience.ts";
import { sniff } from "../../src/lab/sniff.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { toHex } from "../../src/packet/hex.ts";
import {
  type AnnouncingLab,
  announcedOf,
  beyond,
  type Daemon,
  daemons,
  guestSpeakerText,
  type RunningSpeaker,
  raiseAnnouncingLab,
  routerOf,
  type SpeakingBox,
  speakerText,
  startBird,
  startSpeakers,
} from "../support/announcing-lab.ts";
import { type DropCounts, dropsOf, eventually, guestAt, killAgent, moreThan, pings } from "../support/guarded-lab.ts";
import { addressRouted } from "../support/routed-lab.ts";

/** Reached by nobody who was not told of them: outside every prefix of the LAN. */
const toldOf = (daemon: Daemon, protocol: RoutingProtocol): readonly string[] => [
  "192.0.2.77",
  "2001:db8:77::77",
  "2001:db8:78::1",
  // By OSPF FRR names the guest as the way to what is behind it, which the router does not follow.
  ...(daemon === "frr" && protocol === "ospf" ? [] : ["192.0.2.17"]),
];
/** Another program's, on both hosts: inside the guests' prefixes and outside, by the uplink, by another interface, and to nowhere. */
const foreign = [
  "203.0.113.77/32 dev eth0 proto 67",
  "blackhole 203.0.113.79/32 proto 67",
  "198.51.77.0/24 dev mgmt0 proto 67",
  "2001:db8:50::/64 dev mgmt0 proto 67",
];
/** What FRR cannot tell from ours unless it is given every address of a guest. */
const lookalike = ["203.0.113.78/32 dev mgmt0 proto 67", "2001:db8:66::78/128 dev mgmt0 proto 67"];
const placeOf = (route: string): string => /[\d.:a-f]+\/\d+/.exec(route)?.[0] ?? "";
const familyOf = (route: string): string => (route.includes(":") ? "-6" : "-4");
/** What the routers offer to the hosts, who want nothing. */
const OFFERED = "198.51.200.0/24";
const OFFERED_OCTETS = "c633c8";

const rounds = [
  { bird: "bgp", frr: "ospf" },
  { bird: "ospf", frr: "rip" },
  { bird: "rip", frr: "bgp" },
] as const satisfies readonly Readonly<Record<Daemon, RoutingProtocol>>[];

let announcing: AnnouncingLab;
let liar: GuestBox;
let lying: RunningSpeaker;

/** A guest of the second host, as if it were on the LAN, with a daemon of its own. */
async function startLiar(): Promise<void> {
  const { lab } = announcing;
  const guest = guestAt(lab.topology.guests, 1);
  liar = { ...guest, mac: await attachGuest(lab, announcing.agentAt("host2"), guest) };
  await addressRouted(lab, liar, "address");
  await lab.must(liar.box, ["ip", "address", "add", `${liar.address}/24`, "dev", "eth0"]);
  lying = await startBird(lab, liar.box, guestSpeakerText(lab, liar));
}

beforeAll(async () => {
  announcing = await raiseAnnouncingLab(`an${process.pid.toString(36)}`);
  const { lab } = announcing;
  for (const box of ["host", "host2"]) {
    await lab.must(box, ["ip", "link", "add", "mgmt0", "type", "veth", "peer", "name", "mgmt1"]);
    for (const device of ["mgmt0", "mgmt1"]) await lab.must(box, ["ip", "link", "set", device, "up"]);
    await lab.must(box, ["sysctl", "-qw", "net.ipv6.conf.mgmt0.disable_ipv6=0"]);
    for (const route of [...foreign, ...lookalike])
      await lab.must(box, ["ip", familyOf(route), "route", "add", ...route.split(" ")]);
  }
  for (const router of Object.values(routerOf)) await lab.must(router, ["ip", "route", "add", OFFERED, "dev", "far0"]);
  await startLiar();
});
afterAll(async () => {
  await announcing?.down();
});

const routesOf = async (box: string): Promise<string> => {
  const shown = await Promise.all(
    ["-4", "-6"].map((family) => announcing.lab.must(box, ["ip", family, "route", "show"])),
  );
  return shown.join("");
};

/** The router tells of a network of its own, whatever it was exported to do. */
function offering(daemon: Daemon, protocol: RoutingProtocol, text: string): string {
  if (daemon === "bird")
    return `${text.replaceAll("export none;", "export all;")}protocol static offered { ipv4; route ${OFFERED} blackhole; }\n`;
  const more = {
    bgp: `router bgp 65000\n no bgp ebgp-requires-policy\n address-family ipv4 unicast\n  redistribute kernel\n${["203.0.113.3", "203.0.113.4"].map((peer) => `  no neighbor ${peer} route-map VIFGUARD-NOTHING out\n`).join("")}`,
    ospf: "router ospf\n redistribute kernel\n",
    rip: "router rip\n redistribute kernel\n no distribute-list prefix VIFGUARD-NOTHING out\n",
  };
  return text + more[protocol];
}

/** Of what was announced, what a machine beyond the router does not reach. */
async function unreached(daemon: Daemon, protocol: RoutingProtocol): Promise<readonly string[]> {
  const asked = toldOf(daemon, protocol).map(async (address) =>
    (await pings(announcing.lab, beyond[daemon].box, address)) ? [] : [address],
  );
  return (await Promise.all(asked)).flat();
}

/** No answer within half a second; the same machine had them a moment ago. */
async function isCutOff(daemon: Daemon, protocol: RoutingProtocol): Promise<boolean> {
  const asked = toldOf(daemon, protocol).map((address) =>
    announcing.lab.exec(beyond[daemon].box, ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "0.3", address]),
  );
  return (await Promise.all(asked)).every(({ stdout }) => !stdout.includes("bytes from"));
}

describe.each(rounds)("BIRD by $bird, FRR by $frr", (spoken) => {
  const both = <T>(what: (daemon: Daemon, protocol: RoutingProtocol) => Promise<T>): Promise<readonly T[]> =>
    Promise.all(daemons.map((daemon) => what(daemon, spoken[daemon])));
  const settled = (host: "host" | "host2" | undefined): Promise<readonly number[]> =>
    both((daemon, protocol) => announcing.settled(daemon, protocol, host));
  const isExact = (daemon: Daemon): boolean => daemon === "frr" && spoken.frr !== "bgp";
  let speakers: readonly ReadonlyMap<SpeakingBox, RunningSpeaker>[] = [];
  let sniffer: Awaited<ReturnType<typeof sniff>>;
  let before: string;

  beforeAll(async () => {
    before = await routesOf("host");
    sniffer = await sniff(announcing.lab, "host");
    await announcing.plug("host");
    speakers = await both((daemon, protocol) =>
      startSpeakers(announcing, daemon, {
        protocol,
        exact: isExact(daemon),
        offering: (text) => offering(daemon, protocol, text),
      }),
    );
  });
  afterAll(async () => {
    await sniffer?.stop();
    await Promise.all(speakers.flatMap((boxes) => [...boxes.values()].map((speaker) => speaker.stop())));
    await announcing.unplug("host2");
  });

  test("a machine beyond the router reaches the guest by its host", async () => {
    await settled("host");
    expect(await both(unreached)).toEqual([[], []]);
  });

  test("nothing but guests is announced; what the LAN offers is heard, and not taken", async () => {
    for (const daemon of daemons) {
      const table = await routesOf(routerOf[daemon]);
      for (const route of foreign)
        expect(table, `${daemon}: ${route}`).not.toContain(placeOf(route).replace(/\/(?:32|128)$/, ""));
      const seen = lookalike.filter((route) => table.includes(placeOf(route).replace(/\/(?:32|128)$/, "")));
      expect(seen, daemon).toEqual(daemon === "frr" && !isExact(daemon) ? lookalike : []);
    }
    const { gateway, neighbour } = announcing.lab.topology;
    for (const { mac } of [gateway, neighbour]) {
      const from = mac.replaceAll(":", "");
      const isOffer = (frame: string): boolean => frame.slice(12, 24) === from && frame.includes(OFFERED_OCTETS);
      expect(await eventually(async () => sniffer.frames().map(toHex).some(isOffer)), "control: it is offered").toBe(
        true,
      );
    }
    const mine = (text: string): readonly string[] =>
      text.split("\n").filter((line) => !/proto 118|dev vif/.test(line));
    expect(mine(await routesOf("host"))).toEqual(mine(before));
  });

  test("the same file once more takes no route away", async () => {
    const { lab } = announcing;
    const watched = both((daemon) => lab.exec(routerOf[daemon], ["timeout", "2", "ip", "monitor", "route"]));
    await sleep(300);
    await Promise.all(
      daemons.map((daemon, n) => {
        const text = speakerText(announcing, daemon, "host", { protocol: spoken[daemon], exact: isExact(daemon) });
        return speakers[n]?.get("host")?.reload(text);
      }),
    );
    for (const [n, { stdout }] of (await watched).entries()) {
      const gone = stdout.split("\n").filter((line) => line.startsWith("Deleted"));
      // FRR's OSPFv3 begins anew.
      const isAnew = daemons[n] === "frr" && spoken.frr === "ospf";
      expect(gone.filter((line) => !isAnew || !line.includes(":"))).toEqual([]);
    }
    await settled("host");
  });

  test("a guest that speaks itself is heard by nobody", async () => {
    const client = announcing.clientAt("host2");
    const counted = (): Promise<DropCounts> => dropsOf({ client }, liar.port);
    const before = await counted();
    const isTold = async (): Promise<boolean> => {
      const more = moreThan(before, await counted());
      // Hellos and responses to groups, and connections to the hosts.
      return (more.get("multicast") ?? 0) > 4 && (more.get("host") ?? 0) > 1;
    };
    expect(await eventually(isTold), "it tries").toBe(true);
    expect(await lying.ask("show", "protocols"), "sessions").not.toContain("Established");
    for (const protocol of ["ospf4", "ospf6"])
      expect(await lying.ask("show", "ospf", "neighbors", protocol)).not.toMatch(/Full|2-Way|Init/);
    for (const daemon of daemons)
      expect(await routesOf(routerOf[daemon]), daemon).not.toMatch(/198\.51\.99\.|2001:db8:bad:/);
    expect(await routesOf("host2")).not.toMatch(/198\.51\.99\.|2001:db8:bad:/);
    const [speaker] = speakers;
    const heard = {
      bgp: /Established/,
      ospf: /203\.0\.113\.[34].*Full|Full.*203\.0\.113\.[34]/,
      rip: /203\.0\.113\.[34]/,
    }[spoken.bird];
    const words = {
      bgp: ["show", "protocols"],
      ospf: ["show", "ospf", "neighbors", "vifguard_ospf4"],
      rip: ["show", "rip", "neighbors", "vifguard_rip4"],
    }[spoken.bird];
    const table = (await speaker?.get("gw")?.ask(...words)) ?? "";
    expect(table, "control: the hosts are heard").toMatch(heard);
    expect(table).not.toContain(liar.address);
  });

  const withoutAgent = async (): Promise<void> => {
    await killAgent(announcing.lab);
    await sleep(500);
    await settled("host");
    expect(await both(unreached)).toEqual([[], []]);
    await startAgent(announcing.lab);
    await settled("host");
  };
  // The kernel keeps its routes whatever is spoken: once with each daemon is enough.
  if (spoken === rounds[0]) test("it goes on without the agent", withoutAgent);

  test("detached, the guest is announced no more; attached, it is again", async () => {
    await announcing.unplug("host");
    await settled(undefined);
    expect(await both(isCutOff)).toEqual([true, true]);
    await announcing.plug("host");
    for (const took of await settled("host")) expect(took).toBeLessThan(patience(20_000));
    expect(await both(unreached)).toEqual([[], []]);
  });

  test("a guest that moves is found at its new host", async () => {
    await announcing.unplug("host");
    await announcing.plug("host2");
    for (const took of await settled("host2")) expect(took).toBeLessThan(patience(20_000));
    expect(await both(unreached)).toEqual([[], []]);
  });
});

describe("a router that is told by hand", () => {
  beforeAll(async () => {
    await announcing.plug("host");
  });

  test("finds the guest by the routes that are exported", async () => {
    const { lab, guest } = announcing;
    expect(await isCutOff("bird", "bgp"), "before").toBe(true);
    await lab.must("gw", ["sh", "-e"], { stdin: await ask(announcing.agentAt("host"), ["export", "routes"]) });
    expect(await unreached("bird", "bgp")).toEqual([]);
    const table = await routesOf("gw");
    for (const prefix of announcedOf(guest, "bird", "bgp")) expect(table).toContain(`${prefix} via `);
    expect(table, "of the other host's guests the other host knows").not.toContain(liar.address);
    expect(await ask(announcing.agentAt("host2"), ["export", "routes"])).toContain(
      `${liar.address}/32 via 203.0.113.4`,
    );
  });

  test("takes them in its own words", async () => {
    const { lab } = announcing;
    const text = (format: string): Promise<string> =>
      ask(announcing.agentAt("host"), ["export", "routes", "--for", format, "--blackhole"]);
    const file = `${lab.directory}/static.conf`;
    await writeFile(file, `router id 1;\n${await text("bird")}`);
    await must(["bird", "-p", "-c", file]);
    await writeFile(file, await text("frr"));
    await must(["vtysh", "-C", "-f", file]);
    await writeFile(file, "ip route nonsense\n");
    await expect(must(["vtysh", "-C", "-f", file]), "control").rejects.toThrow();
  });
});
