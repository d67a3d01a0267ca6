/**
 * Who answers on the LAN, from beginning to end: a station there asks for every guest's address four times a second, each time as somebody else, so that every answer
 * belongs to one question; pings go to all of them; and what comes from ports that must be shut is seen.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { openFrames } from "../../src/kernel/frames-netlink.ts";
import { openLinks } from "../../src/kernel/links-netlink.ts";
import { inNamespace } from "../../src/kernel/netns.ts";
import type { Piped } from "../../src/lab/exec.ts";
import { arp, ethernet, ip4Of, macOf, NO_MAC } from "../../src/lab/forge.ts";
import type { Lab } from "../../src/lab/raise.ts";
import { type GuestBox, globalOf } from "../../src/lab/topology.ts";
import type { Ipv4Address } from "../../src/model/ipv4.ts";
import { BROADCAST_MAC } from "../../src/model/mac.ts";
import { parseInterfaceName } from "../../src/model/names.ts";

/** Of one question for one address: the MACs that claimed it. */
export interface Answers {
  readonly address: Ipv4Address;
  readonly at: number;
  readonly macs: readonly string[];
}

export interface PingReport {
  readonly box: string;
  readonly sent: number;
  readonly lost: number;
  /** Answers that came twice: two ports let the guest through. */
  readonly twice: number;
  /** The longest time without an answer, in milliseconds. */
  readonly gap: number;
}

export interface Watch {
  /** Questions that more than one answered. */
  doubled(since: number): readonly Answers[];
  /** How many questions for the address were answered. */
  answered(address: Ipv4Address, since: number): number;
  pings(since: number): readonly PingReport[];
  /** Frames that bear the guest's MAC and came from its box. */
  heard(guest: GuestBox, since: number): number;
  stop(): Promise<void>;
}

const ASK_EVERY = 250;
/** Questions of one asker are four seconds apart: no answer is that late. */
const ASKERS = 16;
const askerMac = (n: number): string => `02:76:67:00:01:${n.toString(16).padStart(2, "0")}`;
/** Above the range that guests have their addresses from. */
const askerAddress = (n: number): Ipv4Address => ip4Of(`203.0.113.${224 + n}`);
const PING_SECONDS = "0.1";

const DECIMAL = 10;

interface Question {
  readonly address: Ipv4Address;
  readonly at: number;
  readonly macs: string[];
}

/** One asker's questions of one round, put on the wire; all of them are kept. */
function createQuestions(lab: Lab, addresses: readonly Ipv4Address[]) {
  const wire = inNamespace(lab.netns("neighbour"), () => {
    const links = openLinks();
    const name = parseInterfaceName("eth0");
    const ifindex = name === undefined ? undefined : links.byName(name)?.ifindex;
    links.close();
    if (ifindex === undefined) throw new TypeError("the neighbour has no eth0");
    return { frames: openFrames(), ifindex };
  });
  const all: Question[] = [];
  const open = new Map<string, Question>();
  let round = 0;
  function ask(): void {
    const asker = round % ASKERS;
    round += 1;
    const mac = macOf(askerMac(asker));
    const frames = addresses.map((address) => {
      const question = { address, at: Date.now(), macs: [] };
      all.push(question);
      open.set(`${askerMac(asker)} ${address}`, question);
      const fields = { operation: 1, senderMac: mac, senderIp: askerAddress(asker), targetMac: NO_MAC };
      const bytes = ethernet(BROADCAST_MAC, mac, 0x0806, arp({ ...fields, targetIp: address }));
      return { ifindex: wire.ifindex, bytes };
    });
    wire.frames.send(frames);
  }
  const timer = setInterval(ask, ASK_EVERY);
  return {
    all,
    answer: (asker: string, address: string, mac: string): void => void open.get(`${asker} ${address}`)?.macs.push(mac),
    stop: (): void => {
      clearInterval(timer);
      wire.frames.close();
    },
  };
}

interface Pinging {
  readonly box: string;
  readonly process: Piped;
  readonly answers: { readonly at: number; readonly seq: number; readonly twice: boolean }[];
}

async function startPinging(lab: Lab, box: string, address: string): Promise<Pinging> {
  const process = await lab.startPiped("neighbour", ["ping", "-n", "-D", "-i", PING_SECONDS, address]);
  const answers: Pinging["answers"] = [];
  onLines(process, (line) => {
    const [, seconds, seq] = /^\[(\d+\.\d+)\] .*bytes from .*icmp_seq=(\d+)/.exec(line) ?? [];
    if (seconds === undefined || seq === undefined) return;
    answers.push({ at: Number(seconds) * 1000, seq: Number(seq), twice: line.includes("DUP!") });
  });
  return { box, process, answers };
}

function onLines(process: Piped, take: (line: string) => void): void {
  let rest = "";
  process.stdout.setEncoding("utf8").on("data", (part: string) => {
    const lines = (rest + part).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  });
  process.stderr.resume();
}

/** Numbers go round after 65 535, two hours. */
function reportOf({ box, answers }: Pinging, since: number): PingReport {
  const within = answers.filter(({ at }) => at >= since);
  const once = within.filter(({ twice }) => !twice);
  const [first, last] = [once[0]?.seq ?? 0, once.at(-1)?.seq ?? -1];
  const times = [since, ...once.map(({ at }) => at), Date.now()];
  const gap = times.slice(1).reduce((most, time, i) => Math.max(most, time - (times[i] ?? time)), 0);
  return {
    box,
    sent: last - first + 1,
    lost: last - first + 1 - once.length,
    twice: within.length - once.length,
    gap: Math.round(gap),
  };
}

/** What a shut port must let nobody hear: questions for the neighbour, and pings as soon as it is known. */
async function knock(lab: Lab, { box }: GuestBox): Promise<void> {
  await lab.startPiped(box, ["ping", "-n", "-q", "-i", "0.2", lab.topology.neighbour.address]);
}

/** @param hasIp6 whose network has it @param knocking guests behind ports that are shut at times @param asked whom the LAN asks for and pings */
export async function startWatch(
  lab: Lab,
  asked: readonly GuestBox[],
  knocking: readonly GuestBox[],
  hasIp6: (guest: GuestBox) => boolean,
): Promise<Watch> {
  const questions = createQuestions(
    lab,
    asked.map(({ address }) => address),
  );
  const heard = new Map<string, number[]>(knocking.map(({ mac }) => [mac, []]));
  const filter = ["arp", ...knocking.map(({ mac }) => `or ether src ${mac}`)].join(" ").split(" ");
  const tcpdump = await lab.startPiped("neighbour", [
    "tcpdump",
    ...["-i", "eth0", "-Q", "in", "-n", "-e", "-tt", "-l", "--immediate-mode"],
    ...filter,
  ]);
  onLines(tcpdump, (line) => {
    const [, seconds, from = "", to = ""] = /^(\d+\.\d+) ([0-9a-f:]{17}) > ([0-9a-f:]{17}|Broadcast)/.exec(line) ?? [];
    if (seconds === undefined) return;
    heard.get(from)?.push(Number.parseFloat(seconds) * 1000);
    const [, address, mac] = /Reply ([\d.]+) is-at ([0-9a-f:]{17})/.exec(line) ?? [];
    if (address !== undefined && mac !== undefined) questions.answer(to, address, mac);
  });
  const pinging: Pinging[] = [];
  for (const guest of asked)
    for (const address of [guest.address, ...(hasIp6(guest) ? [globalOf(guest)] : [])])
      pinging.push(await startPinging(lab, guest.box, address));
  for (const guest of knocking) await knock(lab, guest);
  await sleep(ASK_EVERY * DECIMAL);
  return {
    doubled: (since) => questions.all.filter(({ at, macs }) => at >= since && macs.length > 1),
    answered: (address, since) =>
      questions.all.filter((one) => one.address === address && one.at >= since && one.macs.length > 0).length,
    pings: (since) => pinging.map((one) => reportOf(one, since)),
    heard: ({ mac }, since) => (heard.get(mac) ?? []).filter((at) => at >= since).length,
    stop: async () => {
      questions.stop();
      await Promise.all([tcpdump, ...pinging.map(({ process }) => process)].map((one) => one.stop("SIGINT")));
    },
  };
}
