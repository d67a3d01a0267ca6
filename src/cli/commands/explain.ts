/** What would become of a frame, and why: asked of the agent, or of a site file alone. */
import { GuardError } from "../../model/errors.ts";
import type { ExplainAnswer, ExplainQuestion, ExplanationView } from "../../model/operations.ts";
import { toHex } from "../../packet/hex.ts";
import { readCapture } from "../../packet/pcap.ts";
import { type PhraseForm, phraseClauses, phraseForms, phraseWords } from "../../packet/phrase.ts";
import { explainOffline } from "../../plan/explain-offline.ts";
import { clientFor } from "../agent-client.ts";
import type { Command, Input, Io } from "../command.ts";
import { explainTheFlow, flowDetails } from "../explain-flow.ts";
import { type Column, clean, type Format, formatOf, show, table } from "../output.ts";
import { withProgress } from "../progress.ts";
import { drawRandom, offlineOption, readSite } from "../site-files.ts";

/** So many frames travel at once: the agent answers other callers in between. */
const AT_ONCE = 500;

type Ask = (question: ExplainQuestion) => Promise<ExplainAnswer>;

async function offline(paths: readonly string[], io: Io): Promise<Ask> {
  const resources = await readSite(paths, io);
  return async (question) => explainOffline(resources, question, drawRandom);
}

async function capturedFrames(path: string, io: Io): Promise<readonly string[]> {
  const capture = readCapture(await io.readBytes(path));
  if (!capture.ok) throw new GuardError("USAGE", `'${path}' cannot be read: ${capture.why}`, { fields: { path } });
  if (capture.frames.length === 0)
    throw new GuardError("USAGE", `there is no frame in '${path}'`, { fields: { path } });
  return capture.frames.map(toHex);
}

type What = Pick<ExplainQuestion, "phrase" | "frames">;

/** Exactly one of phrase, --hex and --pcap. @throws USAGE */
async function whatIsAsked(input: Input, io: Io): Promise<What> {
  const phrase = input.rest("PHRASE").join(" ");
  const [hex, pcap] = [input.option("hex"), input.option("pcap")];
  const given = [phrase === "" ? undefined : phrase, hex, pcap].filter((one) => one !== undefined);
  if (given.length === 0)
    throw new GuardError(
      "USAGE",
      "what frame? Say a PHRASE, --hex HEX or --pcap FILE ('vifguard explain --help' lists the phrases)",
    );
  if (given.length > 1)
    throw new GuardError("USAGE", "a PHRASE, --hex and --pcap are three ways to name frames: take one of them");
  if (pcap !== undefined) return { frames: await capturedFrames(pcap, io) };
  return { phrase: hex === undefined ? phrase : `hex ${hex}` };
}

async function inParts(ask: Ask, question: ExplainQuestion): Promise<ExplainAnswer> {
  const { frames } = question;
  if (frames === undefined) return ask(question);
  const answers: ExplainAnswer[] = [];
  for (let at = 0; at < frames.length; at += AT_ONCE)
    answers.push(await ask({ ...question, frames: frames.slice(at, at + AT_ONCE) }));
  const [first] = answers;
  if (first === undefined) throw new GuardError("INTERNAL", "no frame was asked about");
  const notes = [...new Set(answers.flatMap((answer) => answer.notes))];
  return { ...first, notes, frames: answers.flatMap((answer) => answer.frames) };
}

const lineText = ({ line }: ExplanationView): string =>
  line === undefined ? "" : `${line.reason} (contract section ${line.section}): ${line.says}`;

function objectText({ object }: ExplanationView): string {
  if (object === undefined) return "";
  const { what, set, key, holds } = object;
  const says = key === "" ? (holds ? "is there" : "is not there") : `${holds ? "has" : "has no"} ${key}`;
  return `${what}: ${says} (set ${set})`;
}

function oneFrame(view: ExplanationView, notes: readonly string[]): string {
  const rows = [
    ["frame", view.frame],
    ["line", lineText(view)],
    ["object", objectText(view)],
    ["waived", view.waived.join(", ")],
    ["chains", view.chains.join(" > ")],
    ...notes.map((note) => ["note", note] as const),
  ] as const;
  const lines = rows.filter(([, text]) => text !== "").map(([name, text]) => `  ${name.padEnd(6)}  ${clean(text)}\n`);
  return `${clean(view.sentence)}\n${lines.join("")}`;
}

const columns: readonly Column<ExplanationView & { readonly number: number }>[] = [
  { title: "#", right: true, text: (row) => String(row.number) },
  { title: "VERDICT", text: (row) => row.verdict },
  { title: "LINE", text: (row) => row.line?.reason ?? "-" },
  { title: "FRAME", text: (row) => row.frame },
  { title: "WHY", text: (row) => row.sentence.replace(/^dropped: [a-z0-9-]+ – |^(?:passes|answered): /, "") },
];

function manyFrames({ frames, notes }: ExplainAnswer): string {
  const rows = frames.map((view, n) => ({ ...view, number: n + 1 }));
  const counts = (["pass", "answered", "drop"] as const).map(
    (verdict) => `${frames.filter((view) => view.verdict === verdict).length} ${verdict}`,
  );
  return `${table(rows, columns, "")}${counts.join(", ")}\n${notes.map((note) => `note: ${clean(note)}\n`).join("")}`;
}

function answerText(answer: ExplainAnswer, isCapture: boolean): string {
  const [only] = answer.frames;
  return isCapture || only === undefined ? manyFrames(answer) : oneFrame(only, answer.notes);
}

const formLines = (forms: readonly PhraseForm[]): string =>
  forms.map(({ form, text, examples }) => `  ${form}\n      ${text}: ${examples.join(" | ")}\n`).join("");

const details = [
  "Nothing is sent: the rules of the guard are walked with what the kernel holds now, or, with -f, with what a site file says.",
  "A frame is one the guest sends, or with --to one that comes to it. Rates are not judged: a frame on its own is never too many. Ends with status 0 when every frame passes or is answered by the host, 1 when one is dropped.",
  "",
  "phrases (what is left out is what an honest stack would put there):",
  formLines(phraseForms).trimEnd(),
  "behind any of them:",
  formLines(phraseClauses).trimEnd(),
  "words:",
  ...phraseWords.map(([word, text]) => `  ${word.padEnd(8)}  ${text}`),
  "",
  flowDetails,
].join("\n");

const wantedFormat = (input: Input): Format => (input.flag("json") ? "json" : formatOf(input));

export const explainCommand: Command = {
  name: "explain",
  summary: "what would become of a frame or a flow, by which line of the guard, and why",
  details,
  arguments: [
    { name: "TARGET", text: "a port, or GUEST, or GUEST/NIC (counted from 0)", required: true },
    { name: "PHRASE", text: "a frame in words", required: false, rest: true },
  ],
  options: {
    to: { type: "boolean", text: "the frame comes to the guest; without it the guest sends it" },
    from: {
      type: "string",
      value: "END",
      text: "who opens a flow to what follows --to: a guest, GUEST/NIC or an address",
    },
    hex: { type: "string", value: "HEX", text: "a whole frame, byte by byte, instead of a phrase" },
    pcap: { type: "string", value: "FILE", text: "every frame of a capture, one line each; - reads standard input" },
    file: offlineOption,
    json: { type: "boolean", text: "the same as -o json" },
  },
  examples: [
    "vifguard explain web1 arp reply gateway is-at own",
    "vifguard explain vif1.0 tcp own to 198.51.100.7:443",
    "vifguard explain web1/0 --to ping own from gateway",
    "tcpdump -i vif1.0 -Q in -c 100 -w - | vifguard explain vif1.0 --pcap -",
    "vifguard explain web1 -f site.yaml dhcp discover",
    "vifguard explain --from web1 --to db1:5432/tcp",
  ],
  run: async (input, io) => {
    const format = wantedFormat(input);
    const from = input.option("from");
    if (from !== undefined) return explainTheFlow(input, io, from, format);
    const files = input.options("file");
    const what = await whatIsAsked(input, io);
    const ask: Ask = files.length > 0 ? await offline(files, io) : (question) => clientFor(input, io).explain(question);
    const question: ExplainQuestion = {
      target: input.argument("TARGET"),
      direction: input.flag("to") ? "to-guest" : "from-guest",
      ...what,
    };
    const answer = await withProgress(io, "explaining", inParts(ask, question));
    await show(io, format, answer, () => answerText(answer, what.frames !== undefined));
    return answer.frames.some(({ verdict }) => verdict === "drop") ? 1 : 0;
  },
};
