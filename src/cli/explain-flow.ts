/** `explain --from A --to B:PORT/PROTOCOL`: may the flow be opened, by which group and rule of both ends, or what is missing. */
import { GuardError } from "../model/errors.ts";
import type { FlowAnswer, FlowEndView, FlowQuestion, FlowView } from "../model/operations.ts";
import { explainFlowOffline } from "../plan/policy-question.ts";
import { clientFor } from "./agent-client.ts";
import type { Input, Io } from "./command.ts";
import { clean, type Format, show } from "./output.ts";
import { withProgress } from "./progress.ts";
import { drawRandom, readSite } from "./site-files.ts";

export const flowDetails = [
  "With --from, the question is about a flow and not about a frame: do the security groups of both ends let it be opened? A guest is one end, or both;",
  "who is no guest of the site is not judged. Replies pass with their flow. What the guard asks of every frame besides, see 'vifguard explain TARGET PHRASE'.",
  "",
  "flows:",
  "  --from web1 --to db1:5432/tcp                a guest (or GUEST/NIC) to a port of another; tcp or udp",
  "  --from 198.51.100.7 --to web1/1:443/tcp      from outside to the second NIC of a guest",
  "  --from web1 --to [2001:db8::7]:443/tcp       IPv6 with a port stands in brackets",
  "  --from web1 --to db1/icmp                    an echo request; also icmpv6, or db1:timestamp-request/icmp",
  "  --from web1 --to db1/47                      any other protocol, by its number",
].join("\n");

/** Families that rule alike are told once. */
const alike = ({ verdict, ends }: FlowView): string =>
  JSON.stringify([verdict, ends.map(({ address: _, ...rest }) => rest)]);

function toldOnce({ flows }: FlowAnswer): readonly (readonly FlowView[])[] {
  const told = new Map<string, FlowView[]>();
  for (const flow of flows) told.set(alike(flow), [...(told.get(alike(flow)) ?? []), flow]);
  return [...told.values()];
}

function endLine(end: FlowEndView, addresses: readonly string[]): string {
  const who = end.nics.length === 0 ? addresses.join(", ") : `${end.nics.join(" and ")} (${addresses.join(", ")})`;
  const verdict = end.verdict === "not-judged" ? "" : `${end.verdict}${end.observed ? " (only observed)" : ""} – `;
  return `  ${end.end.padEnd(4)}  ${clean(`${who}: ${verdict}${end.sentence}`)}\n`;
}

function flowText(flows: readonly FlowView[]): string {
  const [first] = flows;
  if (first === undefined) return "";
  const lines = first.ends.map((end, n) =>
    endLine(
      end,
      flows.flatMap(({ ends }) => ends[n]?.address ?? []),
    ),
  );
  return `${clean(first.sentence)}\n${lines.join("")}`;
}

function answerText(answer: FlowAnswer): string {
  return toldOnce(answer).map(flowText).join("") + answer.notes.map((note) => `  note  ${clean(note)}\n`).join("");
}

/** @throws USAGE when what belongs to frames is said beside a flow */
function questionOf(input: Input, from: string): FlowQuestion {
  const frame = [...input.rest("PHRASE"), input.option("hex") ?? "", input.option("pcap") ?? ""].filter(Boolean);
  if (frame.length > 0)
    throw new GuardError("USAGE", `--from asks about a flow and takes no frame: leave '${frame[0]}' out`);
  if (!input.flag("to"))
    throw new GuardError("USAGE", "--from asks about a flow: say what it is opened to, with --to db1:5432/tcp");
  return { from, to: input.argument("TARGET") };
}

export async function explainTheFlow(input: Input, io: Io, from: string, format: Format): Promise<number> {
  const question = questionOf(input, from);
  const files = input.options("file");
  const asked =
    files.length > 0
      ? readSite(files, io).then((resources) => explainFlowOffline(resources, question, drawRandom))
      : clientFor(input, io).explainFlow(question);
  const answer = await withProgress(io, "explaining", asked);
  await show(io, format, answer, () => answerText(answer));
  return answer.flows.some(({ verdict }) => verdict === "drop") ? 1 : 0;
}
