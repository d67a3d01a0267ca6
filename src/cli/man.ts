/** Man pages, from the tables of commands, fields and errors: roff is written here and nowhere else. */
import { describeConfig } from "../config/describe.ts";
import { errorCatalogue } from "../model/errors.ts";
import { kinds } from "../model/resources.ts";
import { type Command, globalOptions, type OptionSpec } from "./command.ts";
import { commands } from "./commands.ts";
import { packageVersion } from "./version.ts";

/** A backslash, a hyphen that is typed, and a control character at the beginning of a line mean something to roff. */
const roff = (text: string): string =>
  text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("…", "...")
    .replace(/^([.'])/gm, "\\&$1");

const title = (name: string, section: number, manual: string): string =>
  `.TH ${name.toUpperCase()} ${section} "" "vifguard ${packageVersion()}" "${manual}"\n`;
const heading = (text: string): string => `.SH ${text}\n`;
const paragraph = (text: string): string => `.PP\n${roff(text)}\n`;
const tagged = (tag: string, text: string): string => `.TP\n${tag}\n${roff(text)}\n`;
const code = (lines: readonly string[]): string => `.PP\n.EX\n${roff(lines.join("\n"))}\n.EE\n`;
const bold = (text: string): string => `\\fB${roff(text)}\\fR`;
const italic = (text: string): string => `\\fI${roff(text)}\\fR`;

function optionEntry(name: string, { short, value, text, default: preset, multiple }: OptionSpec): string {
  const tag = `${short === undefined ? "" : `${bold(`-${short}`)}, `}${bold(`--${name}`)}${value === undefined ? "" : ` ${italic(value)}`}`;
  const more = `${preset === undefined ? "" : ` (default ${preset})`}${multiple === true ? "; may be repeated" : ""}`;
  return tagged(tag, `${text}${more}`);
}

const optionEntries = (options: Readonly<Record<string, OptionSpec>>): string =>
  Object.entries(options)
    .map(([name, spec]) => optionEntry(name, spec))
    .join("");

function argumentEntries({ arguments: args }: Command): string {
  return args
    .map(({ name, text, oneOf }) => tagged(italic(name), oneOf === undefined ? text : `${text}: ${oneOf.join(", ")}`))
    .join("");
}

/** Sentences flow; what is indented, such as phrases of explain, keeps its lines. */
function detailsOf({ details = "" }: Command): string {
  const parts = details.split(/\n(?=\S)|(?<=^\S.*)\n(?=\s)/m).filter((part) => part !== "");
  return parts.map((part) => (/^\s/.test(part) ? code(part.split("\n")) : paragraph(part))).join("");
}

function commandSection(command: Command): string {
  const words = command.arguments.map(({ name, required, rest }) =>
    italic(`${required ? name : `[${name}]`}${rest === true ? "..." : ""}`),
  );
  return [
    `.SS ${[bold(`vifguard ${command.name}`), ...words].join(" ")}\n`,
    paragraph(command.summary),
    detailsOf(command),
    argumentEntries(command),
    optionEntries(command.options),
    command.examples.length === 0 ? "" : code(command.examples.map((example) => `  ${example}`)),
  ].join("");
}

function exitStatuses(): string {
  const errors = Object.entries(errorCatalogue);
  const statuses = [...new Set(errors.map(([, { exit }]) => exit))].sort((one, two) => one - two);
  const entries = statuses.map((status) => {
    const names = errors.filter(([, { exit }]) => exit === status).map(([name]) => name);
    return tagged(bold(String(status)), names.join(", "));
  });
  return `${heading("EXIT STATUS")}${tagged(bold("0"), "done")}${entries.join("")}`;
}

const files: readonly (readonly [string, string])[] = [
  ["/run/vifguard/agent.sock", "the agent's socket; who can open it can do everything"],
  ["/var/lib/vifguard", "the store: networks, groups, guests, leases"],
  ["/etc/default/vifguard", "environment of the systemd units and of the hooks"],
  ["/etc/vifguard/site.yaml", "the site that 'systemctl reload vifguard' applies"],
];
const fileSection = (): string =>
  `${heading("FILES")}${files.map(([path, text]) => tagged(bold(path), text)).join("")}`;

function programPage(): string {
  return [
    title("vifguard", 1, "User Commands"),
    heading("NAME"),
    `vifguard \\- the guard at every virtual NIC of a virtualisation host\n`,
    heading("SYNOPSIS"),
    `${bold("vifguard")} ${italic("COMMAND")} [${italic("ARGUMENT")}...] [${italic("OPTION")}...]\n`,
    heading("DESCRIPTION"),
    paragraph(
      "Gives each guest an address on the network and forces it in the kernel. A site file says which networks, groups and guests there are; a hypervisor's hook, or an operator, attaches the host's end of a guest's NIC; what is attached to no guest passes nothing.",
    ),
    heading("OPTIONS OF EVERY COMMAND"),
    optionEntries(globalOptions),
    heading("COMMANDS"),
    commands.map(commandSection).join(""),
    exitStatuses(),
    heading("ENVIRONMENT"),
    tagged(bold("VIFGUARD_SOCKET"), "the agent's socket, where --socket names none"),
    fileSection(),
    heading("SEE ALSO"),
    "\\fBvifguard.yaml\\fR(5), \\fBvifguard\\-agent\\fR(8), \\fBnft\\fR(8)\n",
  ].join("");
}

function fieldEntry({ path, type, default: preset, text }: ReturnType<typeof describeConfig>[number]): string {
  const when = preset === "required" || preset === "none" ? preset.replace("none", "optional") : `default ${preset}`;
  return `.TP\n${bold(path)} (${roff(type)}; ${roff(when)})\n${roff(text)}\n`;
}

function sitePage(): string {
  const fields = kinds.map(
    (kind) =>
      `.SS ${kind}\n${describeConfig()
        .filter(({ path }) => path.startsWith(`${kind}.`))
        .map(fieldEntry)
        .join("")}`,
  );
  return [
    title("vifguard.yaml", 5, "File Formats"),
    heading("NAME"),
    "vifguard.yaml \\- site file of vifguard: networks, groups, guests\n",
    heading("DESCRIPTION"),
    paragraph(
      "YAML (or JSON) documents, one object each, in any order and in any number of files. 'vifguard plan -f FILE' says what would change, 'vifguard apply -f FILE' makes it so. Unknown fields are refused.",
    ),
    heading("FIELDS"),
    ...fields,
    heading("EXAMPLE"),
    code([
      "kind: network",
      "name: lan0",
      "spec:",
      "  prefix4: 203.0.113.0/24",
      "  gateway4: 203.0.113.1",
      "  range4: [203.0.113.10-203.0.113.250]",
      "  wiring: { kind: bridged, bridge: br0 }",
      "---",
      "kind: guest",
      "name: web1",
      "spec: { nics: [{ network: lan0 }] }",
    ]),
    heading("SEE ALSO"),
    "\\fBvifguard\\fR(1), \\fBvifguard\\-agent\\fR(8)\n",
  ].join("");
}

function agentPage(): string {
  const agent = commands.find(({ name }) => name === "agent");
  return [
    title("vifguard-agent", 8, "System Administration"),
    heading("NAME"),
    "vifguard\\-agent \\- the daemon of vifguard\n",
    heading("SYNOPSIS"),
    `${bold("vifguard agent")} [${italic("OPTION")}...]\n`,
    heading("DESCRIPTION"),
    paragraph(agent?.details ?? ""),
    paragraph(
      "An interface whose name begins with a guarded prefix passes nothing until it is attached. The units: vifguard-closed.service shuts ports by name before the network comes up (--load-only), vifguard.service runs the agent; both read their options from /etc/default/vifguard, so that the prefixes are the same.",
    ),
    paragraph("Needs the capabilities CAP_NET_ADMIN and CAP_NET_RAW, and the program nft."),
    heading("OPTIONS"),
    optionEntries({ socket: globalOptions.socket, ...agent?.options }),
    exitStatuses(),
    fileSection(),
    heading("SEE ALSO"),
    "\\fBvifguard\\fR(1), \\fBvifguard.yaml\\fR(5)\n",
  ].join("");
}

/** File name to text. */
export function manPages(): Readonly<Record<string, string>> {
  return { "vifguard.1": programPage(), "vifguard.yaml.5": sitePage(), "vifguard-agent.8": agentPage() };
}
