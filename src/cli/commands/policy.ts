/** The service policy as a whole: who may open flows to whom, on what. */
import type { MatrixView } from "../../model/operations.ts";
import { policyMatrix } from "../../plan/policy-matrix.ts";
import { siteMembers } from "../../plan/policy-members.ts";
import { freshSite } from "../../plan/site.ts";
import { clientFor } from "../agent-client.ts";
import type { Command } from "../command.ts";
import { type Column, clean, formatOf, show, table } from "../output.ts";
import { withProgress } from "../progress.ts";
import { drawRandom, offlineOption, readSite } from "../site-files.ts";

/** Wider than this nobody sees which column a word stands in. */
const WIDE = 7;

const servicesText = (services: readonly string[]): string => services.join("; ");

function square({ classes, cells }: MatrixView): string {
  const found = new Map(cells.map(({ from, to, services }) => [JSON.stringify([from, to]), servicesText(services)]));
  const columns: readonly Column<string>[] = [
    { title: "FROM \\ TO", text: (row) => row },
    ...classes.map(({ name }) => ({
      title: name,
      text: (row: string) => found.get(JSON.stringify([row, name])) ?? "-",
    })),
  ];
  return table(
    classes.map(({ name }) => name),
    columns,
    "",
  );
}

const listColumns: readonly Column<MatrixView["cells"][number]>[] = [
  { title: "FROM", text: (row) => row.from },
  { title: "TO", text: (row) => row.to },
  { title: "SERVICES", text: (row) => servicesText(row.services) },
];

/** What stands for many is named. */
function legend({ classes }: MatrixView): string {
  const lines = classes
    .filter(({ nics }) => nics.length > 1)
    .map(({ name, groups, nics }) => `${name} (groups ${groups.join(", ") || "none"}): ${nics.join(", ")}\n`);
  return lines.length === 0 ? "" : `\n${lines.map((line) => `${clean(line.trimEnd())}\n`).join("")}`;
}

function matrixText(matrix: MatrixView): string {
  if (matrix.classes.every(({ nics }) => nics.length === 0)) return "no guests\n";
  const body =
    matrix.classes.length <= WIDE ? square(matrix) : table(matrix.cells, listColumns, "nobody may open anything");
  return body + legend(matrix);
}

export const policyMatrixCommand: Command = {
  name: "policy matrix",
  summary: "who may open flows to whom, on what",
  details:
    "Rows open flows, columns are opened to; a flow needs what both ends allow. 'others' is everybody who is no guest. Many NICs that no rule tells apart stand in one row; where the table would be wide it is a list of those who may.",
  arguments: [],
  options: {
    network: { type: "string", value: "NAME", text: "only NICs of this network" },
    file: offlineOption,
  },
  examples: [
    "vifguard policy matrix",
    "vifguard policy matrix --network lan0 -o json",
    "vifguard policy matrix -f site.yaml",
  ],
  run: async (input, io) => {
    const format = formatOf(input);
    const [network, files] = [input.option("network"), input.options("file")];
    const filter = network === undefined ? {} : { network };
    const asked =
      files.length > 0
        ? readSite(files, io).then((resources) => policyMatrix(siteMembers(freshSite(resources, drawRandom)), filter))
        : clientFor(input, io).policyMatrix(filter);
    const matrix = await withProgress(io, "comparing", asked);
    await show(io, format, matrix, () => matrixText(matrix));
    return 0;
  },
};
