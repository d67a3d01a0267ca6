/** A private LAN, a host and guests in network namespaces, to try all of it. */
import type { LabWiring } from "../../lab/topology.ts";
import { GuardError } from "../../model/errors.ts";
import type { Command, Input, Io, OptionSpec } from "../command.ts";
import { formatOf, show, span, table } from "../output.ts";

const nameOption = {
  name: { type: "string", value: "NAME", default: "demo", text: "which lab: lower-case letters and digits" },
} as const satisfies Record<string, OptionSpec>;
const nicOption = {
  nic: { type: "string", value: "KIND", default: "veth", text: "guest NICs: veth or tap" },
} as const satisfies Record<string, OptionSpec>;

const printTo = (io: Io) => (line: string) => io.out(`${line}\n`);

async function nicOf(input: Input): Promise<"veth" | "tap"> {
  const { nicKinds } = await import("../../lab/topology.ts");
  const nic = nicKinds.find((kind) => kind === input.option("nic"));
  if (nic === undefined) throw new GuardError("USAGE", `--nic '${input.option("nic")}' is neither veth nor tap`);
  return nic;
}

async function wiringOf(input: Input): Promise<LabWiring> {
  const { labWirings } = await import("../../lab/topology.ts");
  const wiring = labWirings.find((kind) => kind === input.option("wiring"));
  if (wiring === undefined)
    throw new GuardError("USAGE", `--wiring '${input.option("wiring")}' is not ${labWirings.join(" or ")}`);
  return wiring;
}

const upCommand: Command = {
  name: "lab up",
  summary: "raise a LAN with a gateway, a neighbour, a host and guests in network namespaces",
  details:
    "An agent runs inside the host and guards the guests, unless --no-agent is given. Nothing outside the namespaces is touched.",
  arguments: [],
  options: {
    ...nameOption,
    ...nicOption,
    guests: { type: "string", value: "N", default: "2", text: "how many guests" },
    wiring: {
      type: "string",
      value: "KIND",
      default: "bridged",
      text: "how guests reach the LAN: bridged, routed, brouted, transport or nat",
    },
    "no-agent": { type: "boolean", text: "raise the boxes only" },
  },
  examples: [
    "vifguard lab up",
    "vifguard lab up --name two --guests 4",
    "vifguard lab up --wiring routed",
    "vifguard lab up --wiring brouted",
  ],
  run: async (input, io) => {
    const { labUp } = await import("../../lab/play.ts");
    const guests = Number(input.option("guests"));
    const name = input.option("name") ?? "demo";
    const options = { name, guests, nic: await nicOf(input), wiring: await wiringOf(input) };
    await labUp({ ...options, agent: !input.flag("no-agent") }, printTo(io));
    io.out(
      `try: vifguard lab shell guest1 --name ${name}; vifguard lab attack --name ${name}; vifguard lab down --name ${name}\n`,
    );
    return 0;
  },
};

const statusCommand: Command = {
  name: "lab status",
  summary: "which labs are up",
  arguments: [],
  options: {},
  examples: ["vifguard lab status"],
  run: async (input, io) => {
    const { labStatus } = await import("../../lab/play.ts");
    const format = formatOf(input);
    const rows = await labStatus();
    await show(io, format, rows, () =>
      table(
        rows,
        [
          { title: "LAB", text: (row) => row.name },
          { title: "STATE", text: (row) => row.state },
          { title: "NICS", text: (row) => row.nic },
          { title: "UP", text: (row) => (row.createdAt === undefined ? "-" : span(Date.now() - row.createdAt)) },
          {
            title: "AGENT",
            text: (row) =>
              row.agent === undefined ? "-" : `${row.agent.answers ? "answers" : "silent"} at ${row.agent.socket}`,
          },
          { title: "BOXES", text: (row) => row.boxes.join(" ") },
        ],
        "no lab is up: vifguard lab up",
      ),
    );
    return 0;
  },
};

const shellCommand: Command = {
  name: "lab shell",
  summary: "a shell, or one command, inside a box",
  arguments: [
    { name: "BOX", text: "lan, gw, neighbour, host, guest1, …", required: true },
    { name: "COMMAND", text: "what to run instead of a shell, after --", required: false, rest: true },
  ],
  options: nameOption,
  examples: ["vifguard lab shell guest1", "vifguard lab shell host -- bridge fdb show"],
  run: async (input) => {
    const { labShell } = await import("../../lab/play.ts");
    return labShell(input.option("name") ?? "demo", input.argument("BOX"), input.rest("COMMAND"));
  },
};

const attackCommand: Command = {
  name: "lab attack",
  summary: "let a guest tell lies, each with its honest twin, and see what arrives",
  details:
    "Without a name the ten of the demonstration are told. Ends with status 1 when a lie arrived or an honest frame did not.",
  arguments: [{ name: "LIE", text: "which lies", required: false, rest: true }],
  options: {
    ...nameOption,
    from: { type: "string", value: "BOX", default: "guest1", text: "who lies" },
    all: { type: "boolean", text: "every lie there is" },
    list: { type: "boolean", text: "only list them" },
  },
  examples: ["vifguard lab attack", "vifguard lab attack --list", "vifguard lab attack foreign-mac bpdu --from guest2"],
  run: async (input, io) => {
    const { attacks } = await import("../../lab/attacks.ts");
    if (input.flag("list")) {
      const format = formatOf(input);
      const rows = attacks.map(({ name, layer, reason, says }) => ({ name, layer, reason: reason ?? null, says }));
      const columns = [
        { title: "LIE", text: (row: (typeof rows)[number]) => row.name },
        { title: "LAYER", text: (row: (typeof rows)[number]) => row.layer },
        { title: "REASON", text: (row: (typeof rows)[number]) => row.reason ?? "-" },
        { title: "WHAT", text: (row: (typeof rows)[number]) => row.says },
      ];
      await show(io, format, rows, () => table(rows, columns, ""));
      return 0;
    }
    const { labAttack } = await import("../../lab/play.ts");
    const lies = input.flag("all") ? attacks.map(({ name }) => name) : input.rest("LIE");
    const request = { name: input.option("name") ?? "demo", from: input.option("from") ?? "guest1", lies };
    return (await labAttack(request, printTo(io))) ? 0 : 1;
  },
};

const demoCommand: Command = {
  name: "lab demo",
  summary: "the main job from end to end: real leases, pings, ten lies; nothing is left behind",
  arguments: [],
  options: { ...nicOption, name: { ...nameOption.name, default: "", text: "which lab (default: a name of its own)" } },
  examples: ["vifguard lab demo"],
  run: async (input, io) => {
    const { runScenario } = await import("../../lab/scenario.ts");
    const asked = input.option("name") ?? "";
    const name = asked === "" ? `d${process.pid.toString(36)}` : asked;
    return (await runScenario({ name, nic: await nicOf(input), print: printTo(io) })) ? 0 : 1;
  },
};

const downCommand: Command = {
  name: "lab down",
  summary: "remove a lab and everything in it",
  arguments: [],
  options: { ...nameOption, all: { type: "boolean", text: "every lab" } },
  examples: ["vifguard lab down", "vifguard lab down --all"],
  run: async (input, io) => {
    const { labDown } = await import("../../lab/play.ts");
    const removed = await labDown(input.flag("all") ? undefined : (input.option("name") ?? "demo"));
    io.out(removed.length === 0 ? "nothing was up\n" : `removed ${removed.join(", ")}\n`);
    return 0;
  },
};

export const labCommands: readonly Command[] = [
  upCommand,
  statusCommand,
  shellCommand,
  attackCommand,
  demoCommand,
  downCommand,
];
