/** Networks, groups and guests: declared by file, looked at and removed by name. */
import type { ChangeView, ObjectView } from "../../model/operations.ts";
import type { Kind } from "../../model/resources.ts";
import { clientFor } from "../agent-client.ts";
import type { Command, Input, Io } from "../command.ts";
import { type Column, clean, formatOf, sections, show, table } from "../output.ts";
import { withProgress } from "../progress.ts";
import { readSiteTexts } from "../site-files.ts";

const kindWords = ["networks", "groups", "guests", "network", "group", "guest"] as const;

function kindOf(word: string): Kind {
  if (word.startsWith("network")) return "network";
  return word.startsWith("group") ? "group" : "guest";
}

const MARK: Record<ChangeView["action"], string> = { create: "+", update: "~", delete: "-", unchanged: "=" };

function changeLines(changes: readonly ChangeView[]): string {
  const lines = changes.flatMap(({ action, kind, name, sentences }) =>
    sentences.length === 0
      ? [`${MARK[action]} ${kind} ${name}`]
      : sentences.map((sentence) => `${MARK[action]} ${sentence}`),
  );
  const counts = (["create", "update", "delete", "unchanged"] as const).map(
    (action) => `${changes.filter((change) => change.action === action).length} ${action}`,
  );
  return `${lines.map(clean).join("\n")}\n${counts.join(", ")}\n`;
}

async function send(input: Input, io: Io, dryRun: boolean): Promise<number> {
  const format = formatOf(input);
  const paths = input.options("file");
  const files = await readSiteTexts(paths, io);
  const changes = await withProgress(
    io,
    dryRun ? "planning" : "applying",
    clientFor(input, io).apply(files, { dryRun }),
  );
  await show(io, format, changes, () => changeLines(changes));
  return 0;
}

const fileOption = {
  file: { type: "string", short: "f", value: "FILE", multiple: true, text: "site file; - reads standard input" },
} as const;

export const applyCommand: Command = {
  name: "apply",
  summary: "make the site what these files say: all of it or nothing",
  details:
    "Objects that are not in the files stay as they are. A file with a fault changes nothing; every fault is named with its place.",
  arguments: [],
  options: fileOption,
  examples: ["vifguard apply -f site.yaml", "generate-site | vifguard apply -f -"],
  run: (input, io) => send(input, io, false),
};

export const planCommand: Command = {
  name: "plan",
  summary: "what apply would change, in sentences; nothing is touched",
  arguments: [],
  options: fileOption,
  examples: ["vifguard plan -f site.yaml"],
  run: (input, io) => send(input, io, true),
};

const isFields = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
const field = (value: unknown, name: string): unknown => (isFields(value) ? value[name] : undefined);
const textOf = (value: unknown): string =>
  Array.isArray(value) ? value.map(textOf).join(",") : value === undefined || value === null ? "-" : String(value);

/** Of links each has its own. */
function gatewayText({ spec }: ObjectView): string {
  const isOfLinks = field(field(spec, "wiring"), "kind") === "transport";
  return isOfLinks ? "left-hand" : textOf(field(spec, "gateway4"));
}

const name: Column<ObjectView> = { title: "NAME", text: (row) => row.name };
const columns: Record<Kind, readonly Column<ObjectView>[]> = {
  network: [
    name,
    { title: "PREFIX", text: (row) => textOf(field(row.spec, "prefix4")) },
    { title: "GATEWAY", text: gatewayText },
    { title: "WIRING", text: (row) => textOf(field(field(row.spec, "wiring"), "kind")) },
    { title: "ADDRESSING", text: (row) => textOf(field(field(row.spec, "addressing"), "kind")) },
    { title: "GUESTS", right: true, text: (row) => textOf(field(row.status, "guests")) },
  ],
  group: [name, { title: "MEMBERS", right: true, text: (row) => String(nicsOf(field(row.status, "members")).length) }],
  guest: [
    name,
    { title: "NIC", text: (row) => eachNic(row, (_, i) => String(i)) },
    { title: "NETWORK", text: (row) => eachNic(row, (nic) => textOf(field(nic, "network"))) },
    { title: "MAC", text: (row) => eachNic(row, (nic) => textOf(field(nic, "mac"))) },
    { title: "ADDRESS", text: (row) => eachNic(row, (nic, i) => addressText(nic, nicsOf(field(row.spec, "nics"))[i])) },
    { title: "PORT", text: (row) => eachNic(row, (nic) => textOf(field(nic, "port"))) },
    { title: "STATE", text: (row) => eachNic(row, (nic) => textOf(field(nic, "state"))) },
  ],
};

const nicsOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const eachNic = (row: ObjectView, text: (nic: unknown, index: number) => string): string =>
  nicsOf(field(row.status, "nics")).map(text).join(" ");

/** `10.66.0.10=203.0.113.5`: with the public addresses that lead there. */
function addressText(nic: unknown, spec: unknown): string {
  const outside = [spec, ...nicsOf(field(spec, "services"))].flatMap((one) => field(one, "public4") ?? []);
  return [textOf(field(nic, "addresses4")), ...new Set(outside.map(textOf))].join("=");
}

export const getCommand: Command = {
  name: "get",
  summary: "list the objects of a kind, or show one",
  arguments: [
    { name: "KIND", text: "what to list", required: true, oneOf: kindWords },
    { name: "NAME", text: "only this one", required: false },
  ],
  options: {},
  examples: ["vifguard get guests", "vifguard get network lan0 -o yaml"],
  run: async (input, io) => {
    const format = formatOf(input);
    const kind = kindOf(input.argument("KIND"));
    const only = input.optionalArgument("NAME");
    const client = clientFor(input, io);
    if (only === undefined) {
      const rows = await client.list(kind);
      await show(io, format, rows, () => table(rows, columns[kind], `no ${kind}s`));
    } else {
      const row = await client.get(kind, only);
      await show(io, format, row, () => table([row], columns[kind], ""));
    }
    return 0;
  },
};

const singular = ["network", "group", "guest"] as const;

export const describeCommand: Command = {
  name: "describe",
  summary: "everything there is to know of one object",
  arguments: [
    { name: "KIND", text: "what it is", required: true, oneOf: singular },
    { name: "NAME", text: "which one", required: true },
  ],
  options: {},
  examples: ["vifguard describe guest web1"],
  run: async (input, io) => {
    const format = formatOf(input);
    const object = await clientFor(input, io).get(kindOf(input.argument("KIND")), input.argument("NAME"));
    await show(io, format, object, () => sections(object));
    return 0;
  },
};

export const deleteCommand: Command = {
  name: "delete",
  summary: "remove an object that nothing uses any more",
  arguments: [
    { name: "KIND", text: "what it is", required: true, oneOf: singular },
    { name: "NAME", text: "which one", required: true },
  ],
  options: {},
  examples: ["vifguard delete guest web1"],
  run: async (input, io) => {
    const format = formatOf(input);
    const change = await clientFor(input, io).remove(kindOf(input.argument("KIND")), input.argument("NAME"));
    await show(io, format, change, () => changeLines([change]));
    return 0;
  },
};
