/** The reference pages: commands, interface, site file, errors, drop reasons. */
import { openapi } from "../api/openapi.ts";
import { type Route, routeIds, routes } from "../api/routes.ts";
import { describeConfig } from "../config/describe.ts";
import {
  type CapabilitySpec,
  capabilities,
  capabilityCatalogue,
  policyNeeds,
  policyShapeCatalogue,
  policyShapes,
  shapeCatalogue,
} from "../model/capabilities.ts";
import { errorCatalogue } from "../model/errors.ts";
import { conditionCatalogue } from "../model/health.ts";
import { reasonTable } from "../model/reasons.ts";
import { commandHelp } from "./command.ts";
import { commands } from "./commands.ts";
import { packageVersion } from "./version.ts";

const GENERATED = "<!-- Written by `vifguard docs`; change the tables in src/, not this page. -->\n\n";

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");

function markdownTable(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(" | ")} |\n`;
  return line(titles) + line(titles.map(() => "---")) + rows.map(line).join("");
}

function cliPage(): string {
  const part = (command: (typeof commands)[number]): string =>
    `## vifguard ${command.name}\n\n\`\`\`\n${commandHelp(command)}\`\`\`\n`;
  return `# Commands\n\n${GENERATED}${commands.map(part).join("\n")}`;
}

function apiPage(): string {
  const rows = routeIds.map((id) => {
    const route: Route = routes[id];
    return [`\`${route.method} ${route.path}\``, route.permission, route.summary, route.errors.join(", ")];
  });
  return `# API\n\n${GENERATED}HTTP over the agent's unix socket; JSON in and out; errors as RFC 9457 problem documents. The schemas are in [openapi.json](openapi.json).\n\n${markdownTable(["endpoint", "needs", "what", "errors"], rows)}`;
}

function configPage(): string {
  const rows = describeConfig().map(({ path, type, default: value, text }) => [`\`${path}\``, type, value ?? "", text]);
  return `# Site file\n\n${GENERATED}${markdownTable(["field", "type", "default", "what"], rows)}`;
}

function errorsPage(): string {
  const rows = Object.entries(errorCatalogue).map(([code, { exit, http, hint }]) => [
    `\`${code}\``,
    String(exit),
    String(http),
    hint,
  ]);
  const conditions = Object.entries(conditionCatalogue).map(([code, { severity, text }]) => [
    `\`${code}\``,
    severity,
    text("…"),
  ]);
  return `# Errors and conditions\n\n${GENERATED}## Errors\n\n${markdownTable(["code", "exit status", "HTTP status", "what to do"], rows)}\n## Conditions in \`vifguard status\`\n\n${markdownTable(["code", "severity", "says"], conditions)}`;
}

function reasonsPage(): string {
  const rows = Object.entries(reasonTable).map(([reason, { code, says }]) => [`\`${reason}\``, String(code), says]);
  return `# Drop reasons\n\n${GENERATED}The number is the packet mark in the kernel's counters and drop log.\n\n${markdownTable(["reason", "number", "means"], rows)}`;
}

function kernelPage(): string {
  const need = {
    must: "always",
    readBack: "always; where it cannot be tried, every attach reads it back",
    policy: "by groups that need connection state",
    nat: "by networks of wiring nat",
    may: "no",
  };
  const rows = capabilities.map((name) => {
    const { says, need: how, why, from }: CapabilitySpec = capabilityCatalogue[name];
    return [`\`${name}\``, says, need[how], why, from];
  });
  const shapes = Object.entries(shapeCatalogue).map(([name, says]) => [`\`${name}\``, says]);
  const policies = policyShapes.map((name) => [
    `\`${name}\``,
    policyNeeds[name].map((wanted) => `\`${wanted}\``).join(", "),
    policyShapeCatalogue[name],
  ]);
  return `# What the kernel must do\n\n${GENERATED}The agent tries these out at every start, in a transaction that is never committed. Where one that it needs is missing it does not start, leaves the rules of an earlier run alone or shuts the ports it can, and names what is missing. \`vifguard status\` shows what was found.\n\n${markdownTable(["capability", "what", "needed", "why", "from"], rows)}\n## Shapes\n\n${markdownTable(["shape", "how the guard is built"], shapes)}\n## Policy\n\nGroups that need connection state are enforced in the first of these shapes whose capabilities are all there. \`vifguard agent --without bridge-conntrack\` takes the second where the first would do.\n\n${markdownTable(["policy", "wants", "how flows are judged"], policies)}`;
}

/** File name to text. */
export function referencePages(): Readonly<Record<string, string>> {
  return {
    "cli.md": cliPage(),
    "api.md": apiPage(),
    "config.md": configPage(),
    "errors.md": errorsPage(),
    "drop-reasons.md": reasonsPage(),
    "kernel.md": kernelPage(),
    "openapi.json": `${JSON.stringify(openapi(packageVersion()), undefined, 2)}\n`,
  };
}
