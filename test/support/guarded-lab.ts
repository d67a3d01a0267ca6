/** Labs for tests of the whole guard: two or more guests with their addresses, behind the guard with a site of the test's own, or without any guard as the control. */
import { readFile } from "node:fs/promises";
import { execPath } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, connect } from "../../src/api/client.ts";
import { builtFile } from "../../src/lab/built.ts";
import type { Running } from "../../src/lab/exec.ts";
import {
  addressFields,
  attachGuest,
  isAnswering,
  prefixLines,
  startAgent,
  sumCounts,
  wiringLines,
} from "../../src/lab/guarded.ts";
import { patience } from "../../src/lab/patience.ts";
import { addressGuest6, bridgeUnguarded, type Lab, raiseLab } from "../../src/lab/raise.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import type { Box, GuestBox, Topology } from "../../src/lab/topology.ts";
import type { Direction, Reason } from "../../src/model/reasons.ts";

/** What a test adds to the plain site, in the words of a site file. */
export interface SiteExtras {
  /** What guests of a routed network are given. */
  readonly gives?: "address" | "prefix";
  /** Lines of the network's spec. */
  readonly network?: readonly string[];
  /** Groups as documents of their own, in place of the one that lets everything in, which every NIC carries that names none. */
  readonly groups?: readonly string[];
  /** By guest, more fields of its one NIC in flow style: `mode: observe, rates: { arp: 5 }`. */
  readonly nics?: Readonly<Partial<Record<Box, string>>>;
}

export interface GuardedLab {
  readonly lab: Lab;
  readonly agent: LabAgent;
  readonly client: Client;
  /** Attached, addressed, and with the MACs they were given. */
  readonly guests: readonly GuestBox[];
}

/** One network with every guest at the address that the topology gives it. */
export function siteText(topology: Topology, extras: SiteExtras = {}): string {
  const { guests } = topology;
  const network = [
    "kind: network",
    "name: lan0",
    "spec:",
    ...prefixLines(topology),
    ...wiringLines(topology, extras.gives),
    "  addressing: { kind: managed, macScheme: ip }",
    ...(extras.groups === undefined ? ["  groups: [open]"] : []),
    ...(extras.network ?? []).map((line) => `  ${line}`),
    ...(extras.groups ?? ["kind: group\nname: open\nspec: { ingress: [{ protocol: any, from: any }] }"]).flatMap(
      (text) => ["---", text],
    ),
  ];
  const declared = guests.flatMap((guest) => {
    const { box } = guest;
    const more = extras.nics?.[box];
    const nic = `network: lan0, ${addressFields(topology, guest)}${more === undefined ? "" : `, ${more}`}`;
    return ["---", "kind: guest", `name: ${box}`, `spec: { nics: [{ ${nic} }] }`];
  });
  return `${[...network, ...declared].join("\n")}\n`;
}

export async function applyText({ client }: Pick<GuardedLab, "client">, text: string): Promise<void> {
  await client.apply([{ path: "test", text }], { dryRun: false });
}

export async function applyExtras(guarded: GuardedLab, extras: SiteExtras = {}): Promise<void> {
  await applyText(guarded, siteText(guarded.lab.topology, extras));
}

/** Both families, and the default route, by hand: what DHCP does is not the matter here. */
export async function addressByHand(lab: Lab, guest: GuestBox): Promise<void> {
  await lab.must(guest.box, ["ip", "address", "replace", `${guest.address}/24`, "dev", "eth0"]);
  await lab.must(guest.box, ["ip", "link", "set", "eth0", "up"]);
  await lab.must(guest.box, ["ip", "route", "replace", "default", "via", lab.topology.gateway.address]);
  await addressGuest6(lab, guest);
}

async function orTakeDown<T>(lab: Lab, build: () => Promise<T>): Promise<T> {
  try {
    return await build();
  } catch (cause) {
    await lab.down();
    throw cause;
  }
}

/** Nothing is left when it fails. */
export async function raiseGuardedLab(name: string, guests: number, extras: SiteExtras = {}): Promise<GuardedLab> {
  const lab = await raiseLab({ name, guests, nic: "veth" });
  return orTakeDown(lab, async () => {
    const agent = await startAgent(lab);
    const client = connect(agent.socket);
    await applyText({ client }, siteText(lab.topology, extras));
    const ready: GuestBox[] = [];
    for (const guest of lab.topology.guests) {
      const own = { ...guest, mac: await attachGuest(lab, agent, guest) };
      await addressByHand(lab, own);
      ready.push(own);
    }
    return { lab, agent, client, guests: ready };
  });
}

/** The same boxes with their ports straight in the bridge. */
export async function raisePlainLab(name: string, guests: number): Promise<Lab> {
  const lab = await raiseLab({ name, guests, nic: "veth" });
  return orTakeDown(lab, async () => {
    await bridgeUnguarded(lab);
    for (const guest of lab.topology.guests) await addressByHand(lab, guest);
    return lab;
  });
}

const PING_MS = 3_000;

export type DropCounts = ReadonlyMap<Reason, number>;

/** Frames refused on the port so far, by line of the contract. */
export async function dropsOf(
  { client }: Pick<GuardedLab, "client">,
  port: string,
  direction: Direction = "from-guest",
): Promise<DropCounts> {
  return sumCounts(await client.drops({ port }), direction);
}

/** What was counted more than before; reasons without news are left out. */
export function moreThan(before: DropCounts, after: DropCounts): DropCounts {
  return new Map(
    [...after]
      .map(([reason, packets]) => [reason, packets - (before.get(reason) ?? 0)] as const)
      .filter(([, n]) => n > 0),
  );
}

/** Asked again and again until one answer comes, for as long as a kernel looks for a neighbour; no answer is known after that time only. */
export async function pings(lab: Lab, box: string, address: string): Promise<boolean> {
  const seconds = String(Math.ceil(patience(PING_MS) / 1000));
  return (await lab.exec(box, ["ping", "-n", "-c", "1", "-i", "0.2", "-w", seconds, address])).status === 0;
}

/**
 * No answer within a second: the control beside it shows that one comes in a hundredth of that.
 * @param more options of ping
 */
export async function isSilent(lab: Lab, box: string, address: string, ...more: readonly string[]): Promise<boolean> {
  const argv = ["ping", "-n", "-c", "3", "-i", "0.2", "-w", "1", ...more, address];
  return !(await lab.exec(box, argv)).stdout.includes("bytes from");
}

/** The agent of the host box. @throws Error when none runs */
export async function agentPid(lab: Lab): Promise<number> {
  const { stdout } = await lab.exec("host", ["ip", "netns", "pids", lab.netns("host")]);
  for (const pid of stdout.trim().split(/\s+/)) {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (command.includes("main.js\0agent")) return Number(pid);
  }
  throw new Error("no agent runs in the host box");
}

/** Ended as hard as a power cut would; returns when it is gone. @throws Error when it does not go */
export async function killAgent(lab: Lab): Promise<void> {
  const pid = await agentPid(lab);
  process.kill(pid, "SIGKILL");
  const isGone = async (): Promise<boolean> => {
    const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    return status === "" || / Z /.test(status);
  };
  if (!(await eventually(isGone))) throw new Error(`agent ${pid} does not end`);
}

/** The tables of the guard that the kernel holds; another version of the rules has other ones. */
export async function guardTables(lab: Lab): Promise<readonly string[]> {
  const lines = (await lab.must("host", ["nft", "list", "tables"])).split("\n");
  return lines.filter((line) => line.includes(" vifguard_")).sort();
}

/** Elements of one of the guard's sets, as nft lists them. */
export async function listSet(lab: Lab, set: string): Promise<string> {
  const [, , table = ""] = (await guardTables(lab)).find((line) => line.includes(" netdev "))?.split(" ") ?? [];
  return lab.must("host", ["nft", "list", "set", "netdev", table, set]);
}

/** Whether the guard keeps questions on the port now: an element that lapses by itself. */
export const keepsQuestions = async (lab: Lab): Promise<boolean> =>
  (await listSet(lab, "suppress")).includes("expires");

/** An agent with other rules, because it guards one prefix more; returns when it has taken over. @throws Error when it does not */
export async function startOtherAgent(lab: Lab, agent: LabAgent): Promise<Running> {
  const before = await guardTables(lab);
  const words = ["--state-dir", agent.stateDirectory, "--socket", agent.socket];
  const prefixes = ["--port-prefix", "vif", "--port-prefix", "newer"];
  const other = await lab.start("host", [execPath, builtFile("main.js"), "agent", ...words, ...prefixes], "newer.log");
  const isOther = async (): Promise<boolean> => {
    const now = await guardTables(lab);
    return now.length === before.length && now.every((line) => !before.includes(line)) && isAnswering(agent);
  };
  if (!(await eventually(isOther, 20_000))) throw new Error("the other agent does not take over");
  return other;
}

/** Whether it comes true in time; asked once more at the end. */
export async function eventually(what: () => Promise<boolean>, milliseconds = 10_000): Promise<boolean> {
  const deadline = performance.now() + patience(milliseconds);
  while (performance.now() < deadline) {
    if (await what()) return true;
    await sleep(50);
  }
  return what();
}

/** One guest of so many; they are asked for by number in tests. @throws TypeError */
export function guestAt(guests: readonly GuestBox[], index: number): GuestBox {
  const guest = guests[index];
  if (guest === undefined) throw new TypeError(`this lab has ${guests.length} guests`);
  return guest;
}
