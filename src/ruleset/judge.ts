/** The guard's judgement of one frame, by walking the same rules that the kernel holds. */
import { unreachable } from "../model/never.ts";
import { type Reason, reasonFromCode } from "../model/reasons.ts";
import type { Chain, Field, Match, Rule, Statement, Table, Verdict } from "./ast.ts";
import { fields } from "./ast.ts";
import { concatKey, hostU32, hostU32At, type PlacedElement } from "./element-bytes.ts";
import { type Direction, type PacketView, viewPacket } from "./packet-view.ts";

/** What the rules look at besides the frame. */
export interface World {
  /** The element of that set whose key, or range, has this key in it. */
  find(set: string, key: Uint8Array): PlacedElement | undefined;
  /** Whether the host has this IPv4 or IPv6 address, or it is a broadcast address of a network the host is on. */
  isHost(address: Uint8Array): boolean;
}

/** One look into a set on the way to the verdict. */
export interface Look {
  readonly set: string;
  readonly key: Uint8Array;
  readonly found: boolean;
}

export interface Ruling {
  readonly verdict: "accept" | "drop";
  /** The answer that the rules have made of the frame, and sent back by the port. */
  readonly sentBack: Uint8Array | undefined;
  /** Why it was dropped, or would have been were the port not observed. */
  readonly reason: Reason | undefined;
  /** Lines that were switched off for this NIC and would have stopped it. */
  readonly waived: readonly Reason[];
  /** NFLOG groups it was handed to: somebody on the host takes it from there. */
  readonly groups: readonly number[];
  /** Chains it went through, in order; the last one decided. */
  readonly chains: readonly string[];
  readonly looks: readonly Look[];
}

type Outcome = "accept" | "drop" | "return" | "sent-back";

interface Judgement {
  readonly packet: PacketView;
  readonly world: World;
  readonly chains: ReadonlyMap<string, Chain>;
  readonly trail: string[];
  readonly looks: Look[];
  readonly groups: number[];
  readonly waived: Reason[];
  mark: number;
  reason: Reason | undefined;
}

/** @param mark what is on the frame already: nothing on a guest's, the responder's on its own */
export function judge(
  table: Table,
  entry: string,
  frame: Uint8Array,
  port: { readonly direction: Direction; readonly ifindex: number; readonly mark?: number },
  world: World,
): Ruling {
  const ifindex = hostU32(port.ifindex);
  const state: { mark: number } = { mark: port.mark ?? 0 };
  const own = frame.slice();
  const packet = viewPacket(own, { direction: port.direction, ifindex, mark: () => hostU32(judgement.mark) });
  const judgement: Judgement = {
    packet,
    world,
    chains: new Map(table.chains.map((chain) => [chain.name, chain])),
    trail: [],
    looks: [],
    groups: [],
    waived: [],
    mark: state.mark,
    reason: undefined,
  };
  // The base chain of a port only jumps here, and its policy is drop.
  const outcome = walk(judgement, entry);
  return {
    verdict: outcome === "accept" ? "accept" : "drop",
    sentBack: outcome === "sent-back" ? own : undefined,
    reason: judgement.reason,
    waived: judgement.waived,
    groups: judgement.groups,
    chains: judgement.trail,
    looks: judgement.looks,
  };
}

function walk(judgement: Judgement, name: string): Outcome {
  const chain = judgement.chains.get(name);
  if (chain === undefined) throw new TypeError(`no chain '${name}'`);
  judgement.trail.push(name);
  for (const rule of chain.rules) {
    if (!rule.matches.every((match) => holds(judgement, match))) continue;
    if (!rule.statements.every((statement) => run(judgement, statement))) continue;
    const outcome = decide(judgement, rule, rule.verdict);
    if (outcome !== undefined) return outcome;
  }
  return "return";
}

/** undefined: on to the next rule. */
function decide(judgement: Judgement, rule: Rule, verdict: Verdict): Outcome | undefined {
  switch (verdict.kind) {
    case "accept":
    case "drop":
      return verdict.kind;
    case "return":
      note(judgement, rule);
      return "return";
    case "next":
      return undefined;
    case "sendBack":
      return "sent-back";
    case "goto":
      return walk(judgement, verdict.chain);
    case "jump": {
      const outcome = walk(judgement, verdict.chain);
      return outcome === "return" ? undefined : outcome;
    }
    case "dispatch": {
      const value = judgement.packet.read(verdict.field);
      const found = verdict.cases.find((c) => value !== undefined && numberOf(value) === BigInt(c.value));
      return found === undefined ? undefined : walk(judgement, found.chain);
    }
    default:
      return unreachable(verdict);
  }
}

/** The only return there is: a line that is switched off. Its reason was the mark before the network's number came back. */
function note(judgement: Judgement, rule: Rule): void {
  const waived = rule.matches.find((match) => match.kind === "in" && match.set === "unchecked");
  const look = judgement.looks.findLast(({ set }) => set === "unchecked");
  const reason = waived === undefined || look === undefined ? undefined : reasonFromCode(hostU32At(look.key, 4));
  if (reason !== undefined) judgement.waived.push(reason);
}

function keyOf(judgement: Judgement, key: readonly Field[]): Uint8Array | undefined {
  const parts = key.map((field) => judgement.packet.read(field));
  return parts.every((part) => part !== undefined) ? concatKey(...parts) : undefined;
}

function look(judgement: Judgement, set: string, key: readonly Field[]): PlacedElement | undefined {
  const bytes = keyOf(judgement, key);
  if (bytes === undefined) return undefined;
  const found = judgement.world.find(set, bytes);
  judgement.looks.push({ set, key: bytes, found: found !== undefined });
  return found;
}

function holds(judgement: Judgement, match: Match): boolean {
  const { packet, world } = judgement;
  switch (match.kind) {
    case "in":
      return look(judgement, match.set, match.key) !== undefined;
    case "within":
      return look(judgement, match.set, match.key) !== undefined;
    case "is":
      return compare(packet, match.field, (value) => value === BigInt(match.value));
    case "oneOf":
      return compare(packet, match.field, (value) => match.values.some((one) => value === BigInt(one)));
    case "atLeast":
      return compare(packet, match.field, (value) => value >= BigInt(match.value));
    case "below":
      return compare(packet, match.field, (value) => value < BigInt(match.value));
    case "masked":
      return compare(packet, match.field, (value) => {
        const masked = value & BigInt(match.mask);
        return match.test === "==" ? masked === BigInt(match.value) : masked >= BigInt(match.value);
      });
    case "routingHeader":
      return packet.hasRoutingHeader;
    case "toHost":
      return packet.destination !== undefined && world.isHost(packet.destination) === match.holds;
    case "startsWith":
    case "state":
    case "opens":
    case "labelled":
    case "redirected":
    case "answers":
      throw new TypeError("interface names and connections are for other tables than the guard of a port");
    default:
      return unreachable(match);
  }
}

function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

/** Marks and indexes are numbers of the host, all else is in network order. */
const isHostOrder = (field: Field): boolean => fields[field].nft === "meta mark";

function compare(packet: PacketView, field: Field, test: (value: bigint) => boolean): boolean {
  const bytes = packet.read(field);
  if (bytes === undefined) return false;
  return test(isHostOrder(field) ? BigInt(hostU32At(bytes, 0)) : numberOf(bytes));
}

/** false: the rule ends here. Shares are taken to be there: a frame on its own is never too many. */
function run(judgement: Judgement, statement: Statement): boolean {
  switch (statement.kind) {
    case "mark":
      judgement.mark = statement.value;
      judgement.reason = reasonFromCode(statement.value) ?? judgement.reason;
      return true;
    case "markFrom": {
      const data = look(judgement, statement.map, statement.key)?.data;
      if (data === undefined) return false;
      judgement.mark = hostU32At(data, 0);
      if (judgement.trail.at(-1) === "drop_from") judgement.reason = undefined;
      return true;
    }
    case "log":
      judgement.groups.push(statement.group);
      return true;
    case "markAlso":
    case "flowMarkFrom":
    case "flowMark":
    case "label":
    case "untrack":
    case "translate":
    case "masquerade":
      throw new TypeError("connections are for other tables than the guard of a port");
    case "write":
      return judgement.packet.write(statement.field, octetsOf(statement.field, statement.value));
    case "copy": {
      const octets = judgement.packet.read(statement.from)?.slice();
      return octets !== undefined && judgement.packet.write(statement.field, octets);
    }
    case "writeFrom": {
      const data = look(judgement, statement.map, statement.key)?.data;
      return data !== undefined && judgement.packet.write(statement.field, data);
    }
    case "count":
    case "learn":
    case "learnAs":
    case "rate":
    case "limit":
      return keyless(statement) || keyOf(judgement, keysOf(statement)) !== undefined;
    default:
      return unreachable(statement);
  }
}

const keyless = (statement: Statement): boolean => statement.kind === "limit";
const octetsOf = (field: Field, value: number | bigint): Uint8Array =>
  Uint8Array.from({ length: fields[field].bytes }, (_, n) =>
    Number((BigInt(value) >> BigInt(8 * (fields[field].bytes - 1 - n))) & 0xffn),
  );

const keysOf = (
  statement: Extract<Statement, { kind: "count" | "learn" | "learnAs" | "rate" | "limit" }>,
): readonly Field[] => {
  if (statement.kind === "limit") return [];
  return statement.kind === "rate" ? [statement.key] : statement.key;
};
