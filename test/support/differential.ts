/** The kernel's verdict on many frames, one by one: the guard's own ruleset with every verdict logged, on veth ports in this namespace. */
import type { Frames, LoggedFrame } from "../../src/kernel/frames.ts";
import type { Nft, NftChange } from "../../src/kernel/nft.ts";
import { patience } from "../../src/lab/patience.ts";
import {
  type Chain,
  drop,
  type Match,
  type Rule,
  type SetSpec,
  type Statement,
  type Table,
} from "../../src/ruleset/ast.ts";
import type { PlacedElement } from "../../src/ruleset/element-bytes.ts";
import { entryChains, guardTable } from "../../src/ruleset/guard.ts";
import { logGroups } from "../../src/ruleset/parts.ts";
import { renderTables } from "../../src/ruleset/render.ts";

export const TABLE = "vifguard_differential";
const VERDICTS = 7099;
/** Marks that stand for "handed to the host's responder"; no reason and no network has them. */
const taken = new Map<number, number>([
  [logGroups.dhcp, 0x2000],
  [logGroups.neighbours, 0x2001],
  [logGroups.leases, 0x2002],
]);

export type Verdict =
  | { readonly kind: "accept" }
  | { readonly kind: "drop"; readonly code: number }
  | { readonly kind: "taken"; readonly group: number }
  /** Nothing was logged: the policy of the base chain. */
  | { readonly kind: "silent" };

const isSampling = (statement: Statement): boolean => statement.kind === "rate" || statement.kind === "limit";
const isWriting = ({ kind }: Statement): boolean => kind === "write" || kind === "copy" || kind === "writeFrom";

/** All verdicts go to one group, in order, told apart by the mark; nothing is sampled, and no frame is one too many. */
function outspoken(statement: Statement): readonly Statement[] {
  // What says in the host's stack that the guard has let it by says here what it is: accepted.
  if (statement.kind === "markFrom" && statement.map === "brouted_mark") return [{ kind: "mark", value: 0 }];
  if (statement.kind === "learnAs" && asked.has(statement.set))
    return [{ kind: "learn", set: statement.set, key: statement.key }];
  if (statement.kind !== "log") return [statement];
  return told(taken.get(statement.group));
}

function told(mark: number | undefined): readonly Statement[] {
  const log: Statement = { kind: "log", group: VERDICTS };
  return mark === undefined ? [log] : [{ kind: "mark", value: mark }, log];
}

/** Frames are known again by their octets, so that nothing is written into them; what a rule must find first, it must still find. */
function untouched({ matches, statements, verdict }: Rule): Rule {
  const found = statements.flatMap((one): Match[] =>
    one.kind === "writeFrom" ? [{ kind: "in", key: one.key, set: one.map }] : [],
  );
  const rest = statements.filter((one) => !isWriting(one) && !isSampling(one)).flatMap(outspoken);
  const answered = verdict.kind === "sendBack";
  return {
    matches: [...matches, ...found],
    statements: answered ? told(taken.get(logGroups.neighbours)) : rest,
    verdict: answered ? drop : verdict,
  };
}

/** What is only looked for, because nothing is written, is a set here: before Linux 6.5 a map cannot be asked whether it holds something. */
const asked = new Set(
  guardTable.chains.flatMap(({ rules }) =>
    rules.flatMap(({ statements }) => statements.flatMap((one) => (one.kind === "writeFrom" ? [one.map] : []))),
  ),
);

function asSet({ to, ...spec }: SetSpec): SetSpec {
  return to === undefined || asked.has(spec.name) ? spec : { ...spec, to };
}

function keyAlone({ data, ...element }: PlacedElement): PlacedElement {
  return data === undefined || asked.has(element.set) ? element : { ...element, data };
}

const outspokenChain = (chain: Chain): Chain => ({ ...chain, rules: chain.rules.map(untouched) });

const outspokenTable: Table = {
  ...guardTable,
  sets: guardTable.sets.map(asSet),
  chains: guardTable.chains.map(outspokenChain),
};

/** The rules, and for each port the two hooks: the guard, and behind it one that logs what the guard let by. */
export async function loadOutspoken(nft: Nft, ports: readonly string[], learners: readonly string[]): Promise<void> {
  const { body } = renderTables([outspokenTable], TABLE);
  const hooks = ports.flatMap((port) =>
    (["ingress", "egress"] as const).map(
      (hook) =>
        `\tchain ${hook}-${port} {\n\t\ttype filter hook ${hook} device "${port}" priority 0; policy drop;\n\t\tjump ${learners.includes(port) && hook === "ingress" ? entryChains.learner : entryChains[hook]}\n\t}\n` +
        `\tchain ${hook}-${port}-passed {\n\t\ttype filter hook ${hook} device "${port}" priority 1; policy drop;\n\t\tlog group ${VERDICTS} queue-threshold 1\n\t}\n`,
    ),
  );
  await nft.load(`${body}table netdev ${TABLE} {\n${hooks.join("")}}\n`);
}

export function putElements(nft: Nft, elements: Iterable<PlacedElement>): void {
  const bySet = new Map<string, PlacedElement[]>();
  for (const element of elements)
    if (element.family === "netdev") bySet.set(element.set, [...(bySet.get(element.set) ?? []), keyAlone(element)]);
  const changes = [...bySet].map(
    ([set, all]): NftChange => ({ op: "add-elements", set: { family: "netdev", table: TABLE, set }, elements: all }),
  );
  nft.commit(changes);
}

/** What the answers among the frames have taught the kernel is forgotten; `taught` is all that it knows again. */
export function teachAfresh(nft: Nft, taught: readonly PlacedElement[]): void {
  for (const { name, use } of guardTable.sets) {
    if (use !== "learned") continue;
    const set = { family: "netdev", table: TABLE, set: name } as const;
    nft.commit([{ op: "delete-elements", set, elements: nft.elements(set) ?? [] }]);
  }
  putElements(nft, taught);
}

function verdictOf({ mark }: LoggedFrame): Verdict {
  for (const [group, own] of taken) if (mark === own) return { kind: "taken", group };
  return mark === 0 ? { kind: "accept" } : { kind: "drop", code: mark };
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** NFLOG does not hand over a tag that the kernel took off on receipt. */
function isOf({ bytes }: LoggedFrame, frame: Uint8Array): boolean {
  return same(bytes, frame) || same(bytes, Uint8Array.of(...frame.subarray(0, 12), ...frame.subarray(16)));
}

export interface Oracle {
  /** Puts the frames on a link, in order, and says what became of each. */
  verdicts(ifindex: number, frames: readonly Uint8Array[]): Promise<readonly Verdict[]>;
  close(): void;
}

export function openOracle(frames: Frames): Oracle {
  let heard: LoggedFrame[] = [];
  let lost = 0;
  const subscription = frames.subscribe(
    VERDICTS,
    (batch) => heard.push(...batch),
    () => {
      lost += 1;
    },
  );
  /** Until as many were heard as were sent, and no more come: what an observed port would have dropped is heard twice. */
  async function settle(expected: number): Promise<void> {
    for (let quiet = 0, before = 0; quiet < (heard.length < expected ? patience(150) : 2); quiet += 1) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      if (heard.length > before) quiet = -1;
      before = heard.length;
    }
  }
  return {
    async verdicts(ifindex, batch) {
      heard = [];
      // How many it says it took means nothing: a frame that the egress hook drops is answered with ENOBUFS.
      frames.send(batch.map((bytes) => ({ ifindex, bytes })));
      await settle(batch.length);
      if (lost > 0) throw new Error("verdicts were lost: smaller batches");
      let at = 0;
      return batch.map((frame): Verdict => {
        const next = heard[at];
        if (next === undefined || !isOf(next, frame)) return { kind: "silent" };
        at += 1;
        const verdict = verdictOf(next);
        const echo = heard[at];
        if (verdict.kind === "drop" && echo !== undefined && echo.mark === 0 && same(echo.bytes, next.bytes)) at += 1;
        return verdict;
      });
    },
    close: () => subscription.close(),
  };
}
