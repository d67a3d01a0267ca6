/** What becomes of one frame at one port and why, in words: the judge's ruling told to an operator. */
import type { ExplanationView } from "../model/operations.ts";
import { type Direction, type Reason, reasonTable } from "../model/reasons.ts";
import type { Field } from "../ruleset/ast.ts";
import { hostU32 } from "../ruleset/element-bytes.ts";
import { entryChains, guardTable } from "../ruleset/guard.ts";
import { judge, type Look, type Ruling, type World } from "../ruleset/judge.ts";
import { viewPacket } from "../ruleset/packet-view.ts";
import { logGroups } from "../ruleset/parts.ts";
import { fieldText, keyTexts } from "./explain-fields.ts";
import { translationNotes } from "./explain-nat.ts";
import { decidingSets, type ExplainedPort, reasonSentences, setWords, type Told } from "./explain-words.ts";

/** All but what the frame is: that is its bearer's to say. */
export type Explanation = Omit<ExplanationView, "frame" | "hex">;

/** Who on the host takes a frame off the wire, by NFLOG group. */
const responders = new Map<number, NonNullable<ExplanationView["answeredBy"]>>([
  [logGroups.dhcp, "dhcp"],
  [logGroups.neighbours, "neighbours"],
  [logGroups.leases, "leases"],
]);
const responderWords = {
  dhcp: "the host's DHCP responder takes it and answers on the port; it goes no further",
  leases: "the agent takes it, and passes it on when it answers a question of this guest and what it gives can be had",
  neighbours: "the host knows the answer and gives it on the port; the question goes no further",
} as const;

/** Section of the guard's contract that has the line. */
function sectionOf(reason: Reason, direction: Direction): number {
  if (reason === "unbound" || reason === "no-lease") return 5;
  if (reason.startsWith("policy-")) return 4;
  return direction === "from-guest" ? 2 : 3;
}

function tellFrame(port: ExplainedPort, frame: Uint8Array, direction: Direction): Told {
  const isFromGuest = direction === "from-guest";
  const facts = {
    direction: isFromGuest ? "from" : "to",
    ifindex: hostU32(port.binding.ifindex),
    mark: () => hostU32(0),
  } as const;
  const packet = viewPacket(frame, facts);
  const read = (field: Field): string => {
    const bytes = packet.read(field);
    return bytes === undefined ? "?" : fieldText(field, bytes);
  };
  return { port, isFromGuest, read };
}

function objectOf({ set, key, found }: Look, port: ExplainedPort): NonNullable<ExplanationView["object"]> {
  return { what: setWords[set]?.what(port) ?? set, set, key: keyTexts(set, key).join(" "), holds: found };
}

/** The last look that could have turned the verdict. */
function decidingLook({ reason, looks }: Ruling): Look | undefined {
  if (reason === undefined) return looks.findLast(({ set, found }) => found && setWords[set]?.holds !== undefined);
  const sets = decidingSets[reason] ?? [];
  const told = looks.filter(({ set }) => sets.includes(set));
  return told.findLast(({ set }) => set === sets[0]) ?? told.at(-1);
}

/** What was found true on the way, each once. */
function truths({ looks }: Ruling, port: ExplainedPort): string {
  const says = looks.flatMap(({ set, key, found }) =>
    found ? (setWords[set]?.holds?.(keyTexts(set, key), port) ?? []) : [],
  );
  return [...new Set(says)].join("; ");
}

function waivedText(waived: readonly Reason[]): string {
  return waived.length === 0 ? "" : ` (switched off for this NIC: ${waived.join(", ")})`;
}

function sentenceOf(ruling: Ruling, answeredBy: ExplanationView["answeredBy"], told: Told): string {
  const { verdict, reason, waived } = ruling;
  const off = waivedText(waived);
  if (reason !== undefined) {
    const why = `${reason} – ${reasonSentences[reason](told)}${off}`;
    return verdict === "drop"
      ? `dropped: ${why}`
      : `passes, because the NIC is only observed; otherwise dropped: ${why}`;
  }
  const found = truths(ruling, told.port);
  if (answeredBy !== undefined) return `answered: ${responderWords[answeredBy]}${off}`;
  if (verdict === "drop") return "dropped: no line lets it pass";
  return `passes${found === "" ? "" : `: ${found}`}${off}`;
}

/** Who takes the frame off the wire and answers: a responder, or the rules themselves. */
function answererOf({ groups, sentBack }: Ruling): ExplanationView["answeredBy"] {
  if (sentBack !== undefined) return "neighbours";
  return groups.map((group) => responders.get(group)).find((responder) => responder !== undefined);
}

function verdictOf({ verdict }: Ruling, answeredBy: ExplanationView["answeredBy"]): ExplanationView["verdict"] {
  if (verdict === "accept") return "pass";
  return answeredBy === undefined ? "drop" : "answered";
}

/** What the guard at the port cannot see: frames the bridge hands to the host itself pass one more line there (`birth.ts`). */
export interface HostDoor {
  /** Of the bridge: what is addressed to it is for the host. */
  readonly mac: string;
  /** Whether the port may reach the host at its link-local addresses too. */
  readonly isOpen: boolean;
}

/** Router and neighbour discovery were judged at the port. */
const DISCOVERY: readonly string[] = ["133", "134", "135", "136"];

function isStoppedAtHost({ isFromGuest, read }: Told, door: HostDoor): boolean {
  if (!isFromGuest || door.isOpen || read("etherDestination") !== door.mac || read("etherType") !== "0x86dd")
    return false;
  const isDiscovery = read("ip6Next") === "58" && DISCOVERY.includes(read("icmp6Type"));
  return read("ip6DestinationTop") === "254" && !isDiscovery;
}

function stoppedAtHost(passed: Explanation, { read }: Told): Explanation {
  const { object: _, ...rest } = passed;
  const says = `${read("ip6Destination")} is a link-local address of the host itself, where nothing but neighbour discovery is offered`;
  return {
    ...rest,
    verdict: "drop",
    sentence: `dropped: host – ${says}`,
    line: { reason: "host", section: 2, says: reasonTable.host.says },
    chains: [...passed.chains, "host_input", "closed_host"],
  };
}

/** @param world what the rules would find now */
export function explainFrame(
  port: ExplainedPort,
  frame: Uint8Array,
  direction: Direction,
  world: World,
  door?: HostDoor,
): Explanation {
  const told = tellFrame(port, frame, direction);
  const explanation = atPort(port, frame, told, direction, world);
  return explanation.verdict === "pass" && door !== undefined && isStoppedAtHost(told, door)
    ? stoppedAtHost(explanation, told)
    : explanation;
}

function atPort(port: ExplainedPort, frame: Uint8Array, told: Told, direction: Direction, world: World): Explanation {
  const isFromGuest = direction === "from-guest";
  const ingress = port.binding.learns === true ? entryChains.learner : entryChains.ingress;
  const entry = isFromGuest ? ingress : entryChains.egress;
  const place = { direction: isFromGuest ? "from" : "to", ifindex: port.binding.ifindex } as const;
  const ruling = judge(guardTable, entry, frame, place, world);
  const { reason, waived, chains } = ruling;
  const answeredBy = answererOf(ruling);
  const look = decidingLook(ruling);
  return {
    verdict: verdictOf(ruling, answeredBy),
    sentence: sentenceOf(ruling, answeredBy, told),
    direction,
    observed: reason !== undefined && ruling.verdict === "accept",
    ...(reason === undefined
      ? {}
      : { line: { reason, section: sectionOf(reason, direction), says: reasonTable[reason].says } }),
    ...(look === undefined ? {} : { object: objectOf(look, port) }),
    ...(answeredBy === undefined ? {} : { answeredBy }),
    waived,
    chains,
  };
}

/** Of frames alone nobody can say whether they belong to a flow that was allowed. */
function groupNotes({ binding, nic }: ExplainedPort, frames: readonly ExplanationView[]): readonly string[] {
  const isUnicastIp = ({ verdict, hex }: ExplanationView): boolean =>
    verdict === "pass" && /^.[02468ace].{22}(?:0800|86dd)/.test(hex);
  return binding.policy !== undefined && frames.some(isUnicastIp)
    ? [
        `this is the guard at the port; whether a security group allows the flow is another question: explain --from ${nic} --to …`,
      ]
    : [];
}

/** What else becomes of them, that the guard at the port does not know. */
export function policyNotes(port: ExplainedPort, frames: readonly ExplanationView[]): readonly string[] {
  return [...groupNotes(port, frames), ...translationNotes(port, frames)];
}
