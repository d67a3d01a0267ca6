/** The ruleset as nft text; the only writer of nft syntax. Everything in it is our own constant or a branded name. */
import { unreachable } from "../model/never.ts";
import {
  type Chain,
  type Field,
  type FieldSpec,
  fields,
  type Match,
  type Rule,
  type SetSpec,
  type Statement,
  type Table,
  type Verdict,
} from "./ast.ts";

const spell = (key: readonly Field[]): string => key.map((field) => fields[field].nft).join(" . ");
const typeOf = (field: FieldSpec): string => field.declared ?? field.nft;
const declare = (key: readonly Field[]): string => key.map((field) => typeOf(fields[field])).join(" . ");
const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

function renderMatch(match: Match): string {
  switch (match.kind) {
    case "in":
      return `${spell(match.key)} @${match.set}`;
    case "within":
      return `${spell(match.key)} @${match.set}`;
    case "is":
      return `${fields[match.field].nft} ${hex(match.value)}`;
    case "oneOf":
      return `${fields[match.field].nft} { ${match.values.map(hex).join(", ")} }`;
    case "atLeast":
      return `${fields[match.field].nft} >= ${match.value}`;
    case "below":
      return `${fields[match.field].nft} < ${match.value}`;
    case "masked":
      return `${fields[match.field].nft} & ${hex(match.mask)} ${match.test} ${hex(match.value)}`;
    case "routingHeader":
      return "exthdr rt exists";
    case "toHost":
      return `fib daddr type ${match.holds ? "" : "!= "}{ local, broadcast, anycast }`;
    case "startsWith":
      return `${fields[match.field].nft} "${match.prefix}*"`;
    case "state":
      return `ct state ${match.state}`;
    case "opens":
      return "ct state new ct status ! confirmed";
    case "labelled":
      return `ct label ${match.label}`;
    case "redirected":
      return "ct status dnat";
    case "answers":
      return "ct direction reply";
    default:
      return unreachable(match);
  }
}

function renderStatement(statement: Statement): string {
  switch (statement.kind) {
    case "rate":
      return `update @${statement.set} { ${spell([statement.key])} limit rate ${statement.perSecond}/second burst ${statement.burst} packets }`;
    case "limit":
      return `limit rate ${statement.perSecond}/second`;
    case "count":
    case "learn":
      return `update @${statement.set} { ${spell(statement.key)} }`;
    case "log":
      // queue-threshold 1: every frame is handed up at once, not in lots, which would make replies wait.
      return `log group ${statement.group}${statement.snaplen === undefined ? "" : ` snaplen ${statement.snaplen}`} queue-threshold 1`;
    case "mark":
      return `meta mark set ${hex(statement.value)}`;
    case "markAlso":
      return `meta mark set meta mark | ${hex(statement.value)}`;
    case "markFrom":
      return `meta mark set ${spell(statement.key)} map @${statement.map}`;
    case "flowMarkFrom":
      return `ct mark set ${spell(statement.key)} map @${statement.map}`;
    case "flowMark":
      return `ct mark set ${hex(statement.value)}`;
    case "label":
      return `ct label set ${statement.label}`;
    case "untrack":
      return "notrack";
    case "translate":
      return `${statement.end === "source" ? "snat" : "dnat"} ip to ${spell(statement.key)} map @${statement.map}`;
    case "masquerade":
      return "masquerade";
    case "learnAs":
      return `update @${statement.set} { ${spell(statement.key)} : ${spell([statement.to])} }`;
    case "write":
      return `${fields[statement.field].nft} set ${hex(statement.value)}`;
    case "copy":
      return `${fields[statement.field].nft} set ${fields[statement.from].nft}`;
    case "writeFrom":
      return `${fields[statement.field].nft} set ${spell(statement.key)} map @${statement.map}`;
    default:
      return unreachable(statement);
  }
}

function renderVerdict(verdict: Verdict): string {
  switch (verdict.kind) {
    case "accept":
    case "drop":
    case "return":
      return verdict.kind;
    case "goto":
    case "jump":
      return `${verdict.kind} ${verdict.chain}`;
    case "dispatch":
      return `${fields[verdict.field].nft} vmap { ${verdict.cases.map(({ value, chain }) => `${hex(value)} : goto ${chain}`).join(", ")} }`;
    case "next":
      return "";
    case "sendBack":
      return "fwd to meta iif";
    default:
      return unreachable(verdict);
  }
}

function renderRule(rule: Rule): string {
  return [...rule.matches.map(renderMatch), ...rule.statements.map(renderStatement), renderVerdict(rule.verdict)]
    .filter(Boolean)
    .join(" ");
}

const USE: Record<SetSpec["use"], string> = {
  static: "",
  notes: "",
  // Every element brings its own rate; this one only says of which kind they are.
  limited: " limit rate 1/second\n\t",
  limitedBytes: " limit rate 1 bytes/second\n\t",
  ranges: " flags interval;",
  counted: " flags dynamic; counter;",
  // A bucket that was not used for a minute is full again anyway.
  buckets: " flags dynamic,timeout; timeout 1m;",
  // A neighbour entry of the guest may live as long as it is used, and longer (RFC 4861 section 7.3.2: a stale entry is used at once).
  learned: " flags dynamic,timeout; timeout 1d;",
  beats: " flags timeout; timeout 2s;",
  // Whoever asks does so three times, a second apart (RFC 4861 section 10), and then waits no more.
  askers: " flags dynamic,timeout; timeout 10s;",
  // Three questions of the kernel, a second apart (mcast_solicit, retrans_time_ms).
  asked: " flags dynamic,timeout; timeout 3s;",
  briefly: " flags timeout; timeout 1m;",
  lapsing: " flags timeout;",
  // Every element brings its own number. Not dynamic: of such a set the kernel takes out every element whose count is 0, once a second. Counts stand only in
  // the kind of table that it chooses for a set without a size.
  connections: " ct count over 1\n\t",
};

function renderSet(set: SetSpec): string {
  const type = `typeof ${declare(set.key)}${set.to === undefined ? "" : ` : ${declare([set.to].flat())}`};`;
  return `\t${set.to === undefined ? "set" : "map"} ${set.name} { ${type}${set.size === undefined ? "" : ` size ${set.size};`}${USE[set.use]} }\n`;
}

function renderChain(chain: Chain): string {
  const hook =
    chain.hook === undefined
      ? ""
      : `\t\ttype ${chain.hook.type ?? "filter"} hook ${chain.hook.hook} priority ${chain.hook.priority}; policy accept;\n`;
  return `\tchain ${chain.name} {\n${hook}${chain.rules.map((r) => `\t\t${renderRule(r)}\n`).join("")}\t}\n`;
}

/** One table; chains that others jump to come first, as nft wants them defined. */
function renderTable(table: Table, name: string, chains: readonly Chain[], sets: readonly SetSpec[]): string {
  return `table ${table.family} ${name} {\n${sets.map(renderSet).join("")}${chains.map(renderChain).join("")}}\n`;
}

/**
 * In two parts, because an upgrade fills the new tables before they take effect:
 * `body` holds sets and chains and hooks nothing; `hooks` holds the base chains.
 */
export function renderTables(
  tables: readonly Table[],
  name: string,
): { readonly body: string; readonly hooks: string } {
  const isBase = (chain: Chain): boolean => chain.hook !== undefined;
  const body = tables.map((table) =>
    renderTable(
      table,
      name,
      table.chains.filter((chain) => !isBase(chain)),
      table.sets,
    ),
  );
  const hooks = tables
    .filter((table) => table.chains.some(isBase))
    .map((table) => renderTable(table, name, table.chains.filter(isBase), []));
  return { body: body.join(""), hooks: hooks.join("") };
}
