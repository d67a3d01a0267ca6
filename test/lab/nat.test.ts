/** Translated addresses on the real kernel: who reaches whom by which address, what is refused and counted, what goes on without an agent, and that nothing is left. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DhcpClient, getLease } from "../../src/lab/dhcp-client.ts";
import { ask, attachGuest, startAgent } from "../../src/lab/guarded.ts";
import { sniff } from "../../src/lab/sniff.ts";
import { type Box, type GuestBox, globalOf, type Topology } from "../../src/lab/topology.ts";
import type { Direction, Reason } from "../../src/model/reasons.ts";
import { toHex } from "../../src/packet/hex.ts";
import { areCut, type Flows, flowsIn, goOn, type Stream } from "../support/flows.ts";
import {
  agentPid,
  applyText,
  dropsOf,
  eventually,
  guardTables,
  guestAt,
  killAgent,
  moreThan,
  pings,
  startOtherAgent,
} from "../support/guarded-lab.ts";
import { type NatExtras, natSite, publicOf, raiseNatLab } from "../support/nat-lab.ts";
import { addressRouted, type RoutedLab } from "../support/routed-lab.ts";

const own = process.pid.toString(36);
const [WEB, SHELL, NAMES, OTHER] = [80, 22, 53, 9090] as const;

/** guest1 has an address of its own, guest2 offers two services of another, guest3 has nothing. */
function everyday({ guests }: Topology): NatExtras {
  const shared = publicOf(guestAt(guests, 1));
  const services = `services: [{ public4: ${shared}, protocol: tcp, ports: [8080], to: ${WEB} }, { public4: ${shared}, protocol: udp, ports: [5353], to: ${NAMES} }]`;
  return { nics: { guest2: services, guest3: "" } };
}

describe("guests inside one host", () => {
  let routed: RoutedLab;
  let flows: Flows;
  let before: string;
  let one: GuestBox;
  let two: GuestBox;
  let three: GuestBox;
  let [first, shared] = ["", ""];

  beforeAll(async () => {
    routed = await raiseNatLab({ name: `nat${own}`, guests: 3 }, everyday);
    [one, two, three] = [guestAt(routed.guests, 0), guestAt(routed.guests, 1), guestAt(routed.guests, 2)];
    [first, shared] = [publicOf(one), publicOf(two)];
    flows = flowsIn(routed.lab);
    for (const [box, port] of [
      [one.box, WEB],
      [one.box, SHELL],
      [two.box, WEB],
      [two.box, OTHER],
      [three.box, WEB],
      ["neighbour", WEB],
      ["host", SHELL],
    ] as const)
      await flows.serve(box, port);
    for (const box of ["neighbour", one.box, two.box] as const) await tellPeer(box, 7000);
    await routed.lab.start(two.box, ["socat", `UDP4-LISTEN:${NAMES},fork`, "EXEC:cat"], "names.log");
    before = await traces();
  });
  afterAll(() => routed?.lab.down());

  const onHost = (...argv: string[]): Promise<string> => routed.lab.must("host", argv);
  const apply = (extras: NatExtras): Promise<void> => applyText(routed, natSite(routed.lab.topology, extras));

  /** Says by which address it is asked. */
  async function tellPeer(box: Box, port: number): Promise<void> {
    const argv = ["socat", `TCP4-LISTEN:${port},fork,reuseaddr`, "SYSTEM:echo $SOCAT_PEERADDR"];
    await routed.lab.start(box, argv, `peer-${box}.log`);
  }
  async function seenAs(box: Box, address: string, port = 7000): Promise<string> {
    const argv = [
      "sh",
      "-c",
      'timeout 2 socat -T 1 - "TCP4:$1:$2,connect-timeout=1" < /dev/null',
      "sh",
      address,
      String(port),
    ];
    return (await routed.lab.exec(box, argv)).stdout.trim();
  }
  async function answersUdp(box: Box, address: string, port: number): Promise<boolean> {
    const argv = ["sh", "-c", 'echo hello | timeout 2 socat -t 1 - "UDP4:$1:$2"', "sh", address, String(port)];
    return (await routed.lab.exec(box, argv)).stdout.includes("hello");
  }

  const inetTable = async (): Promise<string> =>
    (await guardTables(routed.lab)).find((line) => line.includes(" inet "))?.split(" ")[2] ?? "";

  /** All that is ours and that a guest brings. */
  async function traces(): Promise<string> {
    const script =
      "ip route show proto 118; ip -6 route show proto 118; ip neigh show proxy; ip -6 neigh show proxy; " +
      'for m in inside public4 services4 leaves4 masqueraded4 itself4; do echo "$m" $( (nft -s list map inet "$1" "$m" 2>/dev/null || nft -s list set inet "$1" "$m") | tr -d "\\n" | grep -o "elements = {[^}]*}"); done';
    const lines = (await onHost("sh", "-c", script, "sh", await inetTable())).split("\n");
    // Elements stand in no order.
    const sorted = lines.map((line) =>
      line
        .split(/, | (?=[}])|(?<=[{]) /)
        .sort()
        .join(),
    );
    return sorted
      .filter((line) => !/^\w*$/.test(line))
      .sort()
      .join("\n");
  }

  async function counted(
    port: GuestBox,
    direction: Direction,
    what: () => Promise<unknown>,
  ): Promise<readonly Reason[]> {
    const was = await dropsOf(routed, port.port, direction);
    await what();
    // A kernel that was given an address reports groups when it likes.
    const more = moreThan(was, await dropsOf(routed, port.port, direction)).keys();
    return [...more].filter((reason) => reason !== "multicast");
  }

  test("a public address is the guest both ways: the LAN reaches it there, and sees it so", async () => {
    const { neighbour } = routed.lab.topology;
    expect(await eventually(() => flows.reaches("neighbour", first, WEB))).toBe(true);
    expect(await flows.reaches("neighbour", first, SHELL)).toBe(true);
    expect(await pings(routed.lab, "neighbour", first)).toBe(true);
    expect(await flows.reaches(one.box, neighbour.address, WEB)).toBe(true);
    expect(await seenAs(one.box, neighbour.address)).toBe(first);
    expect(await pings(routed.lab, one.box, routed.lab.topology.gateway.address)).toBe(true);
    expect(await pings(routed.lab, one.box, globalOf(neighbour)), "IPv6 is routed as it is").toBe(true);
    expect(await pings(routed.lab, "neighbour", globalOf(one))).toBe(true);
  });

  test("of a shared address what is offered is reached, on the guest's own port, and nothing else is, of guest or host", async () => {
    const host = routed.lab.topology.host.address;
    expect(await eventually(() => flows.reaches("neighbour", shared, 8080)), "tcp 8080 to 80").toBe(true);
    expect(await eventually(() => answersUdp("neighbour", shared, 5353)), "udp 5353 to 53").toBe(true);
    const [control, ...refused] = await Promise.all([
      flows.reaches("neighbour", host, SHELL),
      ...[WEB, OTHER, SHELL, 5353].map((port) => flows.reaches("neighbour", shared, port)),
      ...[NAMES, 8080].map((port) => answersUdp("neighbour", shared, port)),
      flows.reaches("neighbour", host, 8080),
    ]);
    expect(control, "the host's own service").toBe(true);
    expect(refused, "other ports, the guest's own one, and those of the host").toEqual(refused.map(() => false));
    expect(await counted(three, "from-guest", () => flows.reaches(three.box, shared, WEB))).toEqual(["untranslated"]);
  });

  test("guests reach each other and themselves by public addresses, as well as by private ones", async () => {
    expect(await flows.reaches(three.box, first, WEB)).toBe(true);
    expect(await flows.reaches(one.box, shared, 8080)).toBe(true);
    expect(await flows.reaches(three.box, shared, 8080)).toBe(true);
    expect(await flows.reaches(one.box, first, WEB), "itself, whole").toBe(true);
    expect(await flows.reaches(two.box, shared, 8080), "itself, one service").toBe(true);
    expect(await answersUdp(two.box, shared, 5353), "itself, by UDP").toBe(true);
    expect(await seenAs(one.box, two.address), "straight: as it is").toBe(one.address);
    expect(await flows.reaches(one.box, three.address, WEB)).toBe(true);
  });

  test("without a public address a guest reaches nothing outside and is counted; with masquerade it does", async () => {
    const { neighbour, host, guests } = routed.lab.topology;
    const ask = (): Promise<boolean> => flows.reaches(three.box, neighbour.address, WEB);
    const listener = await sniff(routed.lab, "neighbour");
    const unheard = async (): Promise<void> => {
      const answers = await Promise.all([ask(), flows.reaches(two.box, neighbour.address, WEB)]);
      expect(answers, "of services comes no way out either").toEqual([false, false]);
    };
    expect(await counted(three, "from-guest", unheard)).toEqual(["untranslated"]);
    const inside = three.address
      .split(".")
      .map((n) => Number(n).toString(16).padStart(2, "0"))
      .join("");
    expect(
      listener
        .frames()
        .map(toHex)
        .filter((frame) => frame.slice(24, 28) === "0800" && frame.includes(inside)),
      "nothing private on the LAN",
    ).toEqual([]);
    await listener.stop();
    await apply({ ...everyday(routed.lab.topology), masquerade: "true" });
    expect(await eventually(ask), "control").toBe(true);
    expect(await seenAs(three.box, neighbour.address)).toBe(host.address);
    expect(await seenAs(one.box, neighbour.address), "its own goes before").toBe(first);
    const chosen = publicOf(guestAt(guests, 2));
    await apply({ ...everyday(routed.lab.topology), masquerade: chosen });
    expect(await eventually(async () => (await seenAs(three.box, neighbour.address)) === chosen)).toBe(true);
    expect(await flows.reaches("neighbour", chosen, WEB), "one way only").toBe(false);
    await apply(everyday(routed.lab.topology));
    expect(await eventually(async () => (await traces()) === before)).toBe(true);
    expect(await ask(), "taken back").toBe(false);
  });

  test("private addresses are nobody's outside: neither from the LAN past the public one, nor asked for there", async () => {
    const { host } = routed.lab.topology;
    await routed.lab.must("neighbour", ["ip", "route", "add", one.address, "via", host.address]);
    const past = async (): Promise<void> => expect(await flows.reaches("neighbour", one.address, WEB)).toBe(false);
    expect(await counted(one, "to-guest", past)).toEqual(["untranslated"]);
    await routed.lab.must("neighbour", ["ip", "route", "del", one.address]);
    await routed.lab.must("neighbour", ["ip", "address", "add", "10.66.0.200/32", "dev", "eth0"]);
    const spoof = (): Promise<unknown> =>
      routed.lab.exec("neighbour", ["ping", "-n", "-c", "1", "-W", "1", "-I", "10.66.0.200", first]);
    expect(await counted(one, "to-guest", spoof), "from a private address").toEqual(["untranslated"]);
    await routed.lab.must("neighbour", ["ip", "address", "del", "10.66.0.200/32", "dev", "eth0"]);
    expect(await counted(one, "from-guest", () => flows.reaches(one.box, "10.66.0.77", WEB))).toEqual(["untranslated"]);
    expect(await flows.reaches("neighbour", first, WEB), "control").toBe(true);
  });

  test("the LAN is answered for exactly the public addresses, and told when a port opens", async () => {
    const { lab } = routed;
    const mac = lab.topology.host.mac;
    const found = async (address: string): Promise<string> => {
      await lab.exec("neighbour", ["ping", "-n", "-c", "1", "-W", "1", address]);
      return lab.must("neighbour", ["ip", "neigh", "show", address]);
    };
    // By one of them somebody left before.
    await lab.must("neighbour", ["ip", "neigh", "flush", "all"]);
    await lab.must("neighbour", ["ip", "address", "add", "10.66.0.200/24", "dev", "eth0"]);
    const answers = await Promise.all([first, shared, publicOf(three), one.address].map(found));
    expect(
      answers.map((answer) => answer.includes(mac)),
      "two public ones, nobody's, a private one",
    ).toEqual([true, true, false, false]);
    await lab.must("neighbour", ["ip", "address", "del", "10.66.0.200/24", "dev", "eth0"]);
  });

  test("of the host itself a guest reaches what the network offers, by its address on the uplink as ever", async () => {
    const { host } = routed.lab.topology;
    expect(await counted(one, "from-guest", () => flows.reaches(one.box, host.address, SHELL))).toEqual(["host"]);
    await apply({
      ...everyday(routed.lab.topology),
      network: [`hostServices: [{ protocol: tcp, ports: [${SHELL}] }]`],
    });
    expect(await eventually(() => flows.reaches(one.box, host.address, SHELL)), "control").toBe(true);
    await apply(everyday(routed.lab.topology));
  });

  test.each(["udhcpc", "dhclient"] as const satisfies readonly DhcpClient[])(
    "%s gets the private address and a way out",
    async (client) => {
      const { lab } = routed;
      await lab.must(one.box, ["ip", "-4", "address", "flush", "dev", "eth0"]);
      expect(await getLease(lab, one.box, client)).toBe(one.address);
      expect(await pings(lab, one.box, lab.topology.neighbour.address)).toBe(true);
      await lab.must(one.box, ["ip", "-4", "address", "flush", "dev", "eth0"]);
      await addressRouted(lab, one, "address");
    },
  );

  test("security groups judge the guest behind the address, by its own port; a rule that goes cuts", async () => {
    const group = (ports: string, more = ""): string =>
      `kind: group\nname: web\nspec: { ingress: [{ protocol: tcp, ports: [${ports}], from: any }${more}] }`;
    const carried = (extras: NatExtras, ...groups: string[]): NatExtras => ({
      ...extras,
      groups,
      nics: {
        guest1: `public4: ${first}, groups: [web]`,
        guest2: `${everyday(routed.lab.topology).nics?.["guest2"]}, groups: [web]`,
        guest3: "",
      },
    });
    await apply(carried({}, group(String(WEB))));
    const streams: Stream[] = [];
    for (const [box, address, port] of [
      ["neighbour", first, WEB],
      ["neighbour", shared, 8080],
      [three.box, first, WEB],
      [three.box, shared, 8080],
      [one.box, first, WEB],
      [two.box, shared, 8080],
    ] as const)
      streams.push(await flows.stream(box, address, port));
    const elsewhere = ["neighbour", three.box, one.box] as const;
    const refused = async (): Promise<void> =>
      expect(await Promise.all(elsewhere.map((box) => flows.reaches(box, first, SHELL)))).toEqual([
        false,
        false,
        false,
      ]);
    expect(await counted(one, "to-guest", refused)).toContain("policy-ingress");
    expect(await counted(two, "to-guest", () => answersUdp("neighbour", shared, 5353))).toContain("policy-ingress");
    await goOn(streams, "allowed");
    // 8080 is the public port: a rule that names it allows nothing.
    await apply(carried({}, group("8080")));
    await areCut(streams, "revoked");
    for (const stream of streams) await stream.stop();
    expect(await flows.tracked(first, "-p", "tcp", "--dport", String(WEB)), "forgotten").toEqual([]);
    expect(await flows.reaches("neighbour", shared, 8080)).toBe(false);
    // Out: by the prefix that the public address is in, or to the group behind it.
    const out = (peer: string): string =>
      `kind: group\nname: client\nspec: { egress: [{ protocol: tcp, ports: [${WEB}], to: ${peer} }] }`;
    const asClient = async (peer: string): Promise<void> => {
      const extras = carried({}, group(String(WEB)), out(peer));
      await apply({ ...extras, nics: { ...extras.nics, guest3: "groups: [client]" } });
    };
    await asClient("{ group: web }");
    expect(await eventually(() => flows.reaches(three.box, first, WEB)), "the group behind it").toBe(true);
    expect(await flows.reaches(three.box, shared, 8080)).toBe(true);
    await asClient(`{ prefix: ${first}/32 }`);
    expect(await eventually(() => flows.reaches(three.box, first, WEB)), "the address it dials").toBe(true);
    expect(await counted(three, "from-guest", () => flows.reaches(three.box, shared, 8080))).toContain("policy-egress");
    await apply(everyday(routed.lab.topology));
  });

  test("a service that is taken back, and an address that changes, cut what goes by them", async () => {
    const kept = await flows.stream("neighbour", first, WEB);
    const cut = await flows.stream("neighbour", shared, 8080);
    await apply({
      nics: { guest2: `services: [{ public4: ${shared}, protocol: tcp, ports: [8081], to: ${WEB} }]`, guest3: "" },
    });
    await areCut([cut], "taken back");
    expect(await eventually(() => flows.reaches("neighbour", shared, 8081)), "control").toBe(true);
    await goOn([kept], "of another address");
    await apply(everyday(routed.lab.topology));
    await cut.stop();
    await kept.stop();
  });

  test("connections of a NIC that is open to all have their bound, too", async () => {
    const extras = everyday(routed.lab.topology);
    await apply({ ...extras, nics: { ...extras.nics, guest1: `public4: ${first}, connections: 3` } });
    const { neighbour } = routed.lab.topology;
    const many =
      "for n in 1 2 3 4 5 6; do (sleep 1; echo) | timeout 3 socat - TCP4:$1:$2,connect-timeout=1 & done; wait";
    const go = (): Promise<unknown> =>
      routed.lab.exec(one.box, ["sh", "-c", many, "sh", neighbour.address, String(WEB)]);
    expect(await counted(one, "from-guest", go)).toContain("conn-limit");
    await apply(extras);
  });

  test("flows go on when the agent is killed, and new ones open; the next agent, and one with other rules, change nothing and cut nothing", async () => {
    const { lab, agent } = routed;
    const { neighbour } = lab.topology;
    const streams = [
      await flows.stream("neighbour", first, WEB),
      await flows.stream("neighbour", shared, 8080),
      await flows.stream(one.box, neighbour.address, WEB),
      await flows.stream(two.box, shared, 8080),
    ];
    await killAgent(lab);
    await lab.must("neighbour", ["ip", "neigh", "flush", "all"]);
    await goOn(streams, "killed");
    expect(await flows.reaches("neighbour", first, SHELL), "new, agent dead").toBe(true);
    expect(await flows.reaches(one.box, neighbour.address, WEB), "new, agent dead").toBe(true);
    await startAgent(lab);
    expect(await traces()).toBe(before);
    await goOn(streams, "started again");
    await killAgent(lab);
    await startOtherAgent(lab, agent);
    await goOn(streams, "upgraded");
    expect(await flows.reaches("neighbour", shared, 8080)).toBe(true);
    expect(await traces(), "in other tables").toBe(before);
    for (const stream of streams) await stream.stop();
  });

  test("what somebody takes away comes back, and meanwhile nothing private leaves", async () => {
    const { lab } = routed;
    const table = await inetTable();
    const thefts: readonly (readonly string[])[] = [
      ["ip", "route", "del", first, "dev", "lo"],
      ["ip", "neigh", "del", "proxy", first, "dev", "eth0"],
      ["nft", "flush", "map", "inet", table, "public4"],
      ["nft", "flush", "map", "inet", table, "leaves4"],
      ["nft", "flush", "map", "inet", table, "services4"],
    ];
    const pid = await agentPid(lab);
    for (const argv of thefts) {
      // Held, or it has put it back before anybody looks.
      process.kill(pid, "SIGSTOP");
      try {
        await onHost(...argv);
        expect(await traces(), argv.join(" ")).not.toBe(before);
        if (argv.at(-1) === "leaves4") {
          expect(await flows.reaches(one.box, lab.topology.neighbour.address, WEB)).toBe(false);
          expect(await onHost("nft", "list", "set", "inet", table, "untranslated_from")).toContain(
            `"${one.port}" counter`,
          );
        }
      } finally {
        process.kill(pid, "SIGCONT");
      }
      expect(await eventually(async () => (await traces()) === before), argv.join(" ")).toBe(true);
    }
    const stream = await flows.stream("neighbour", first, WEB);
    await onHost("nft", "flush", "ruleset");
    expect(await eventually(async () => (await traces()) === before), "all of it").toBe(true);
    await goOn([stream], "over it all");
    await stream.stop();
    expect(await flows.reaches(one.box, lab.topology.neighbour.address, WEB)).toBe(true);
  });

  test("two guests share an address: one that goes leaves it to the other; the last leaves nothing, not even a connection", async () => {
    const { lab, agent } = routed;
    await apply({
      nics: {
        guest2: `services: [{ public4: ${shared}, protocol: tcp, ports: [8080], to: ${WEB} }]`,
        guest3: `services: [{ public4: ${shared}, protocol: tcp, ports: [8081], to: ${WEB} }]`,
      },
    });
    const streams = [await flows.stream("neighbour", shared, 8080), await flows.stream("neighbour", first, WEB)];
    expect(await eventually(() => flows.reaches("neighbour", shared, 8081))).toBe(true);
    await ask(agent, ["detach", three.port]);
    expect(await flows.reaches("neighbour", shared, 8081)).toBe(false);
    await goOn(streams, "of the others");
    expect(await traces()).toContain(shared);
    const listener = await sniff(lab, "neighbour");
    await ask(agent, ["detach", two.port]);
    await ask(agent, ["detach", one.port]);
    await areCut(streams, "detached");
    for (const stream of streams) await stream.stop();
    expect((await traces()).trim(), "of routes, proxies and maps").toBe("");
    const left = async (): Promise<readonly string[]> => [
      ...(await flows.tracked(shared)),
      ...(await flows.tracked(first)),
    ];
    expect(await eventually(async () => (await left()).length === 0), String(await left())).toBe(true);
    await apply(everyday(lab.topology));
    for (const guest of [one, two, three]) {
      await attachGuest(lab, agent, guest);
      await addressRouted(lab, guest, "address");
    }
    expect(await eventually(() => flows.reaches("neighbour", first, WEB)), "control").toBe(true);
    expect(await traces()).toBe(before);
    const [mac, address] = [
      lab.topology.host.mac.replaceAll(":", ""),
      first
        .split(".")
        .map((n) => Number(n).toString(16).padStart(2, "0"))
        .join(""),
    ];
    const arp = `ffffffffffff${mac}08060001080006040001${mac}${address}000000000000${address}`;
    expect(
      await eventually(async () =>
        listener
          .frames()
          .map(toHex)
          .some((frame) => frame.startsWith(arp)),
      ),
      "gratuitous ARP",
    ).toBe(true);
    await listener.stop();
  });
});
