/** Ports: given to guests, taken back, and how they are. */

import { policyShapeCatalogue } from "../../model/capabilities.ts";
import { GuardError } from "../../model/errors.ts";
import type { MoveKind, PortView, StatusView } from "../../model/operations.ts";
import { clientFor } from "../agent-client.ts";
import type { Command, Input } from "../command.ts";
import { nicNumber } from "../nic-option.ts";
import { type Column, clean, formatOf, sections, show, span, table } from "../output.ts";

/** What is not as it should be stands out in capitals. */
const guardOf = ({ mode, unchecked }: PortView): string =>
  [mode === "observe" ? "OBSERVED" : "", unchecked.length === 0 ? "" : `WITHOUT ${unchecked.join(" ")}`]
    .filter(Boolean)
    .join(", ") || "whole";

function addressText({ addresses4, addresses6, learns }: PortView, between: string): string {
  const known = [...addresses4, ...addresses6].join(between);
  return known === "" && learns !== undefined ? `none yet (${learns})` : known;
}

const portColumns: readonly Column<PortView>[] = [
  { title: "PORT", text: (row) => row.port },
  { title: "STATE", text: (row) => row.state },
  { title: "GUEST", text: (row) => row.guest },
  { title: "NIC", text: (row) => String(row.nic) },
  { title: "NETWORK", text: (row) => row.network },
  { title: "MAC", text: (row) => row.mac },
  { title: "ADDRESS", text: (row) => addressText(row, ",") },
  { title: "GUARD", text: guardOf },
  { title: "SINCE", text: (row) => span(Date.now() - row.since) },
  { title: "WHY", text: (row) => row.why ?? "" },
];

function moveKind(input: Input): MoveKind | undefined {
  if (input.flag("prepare")) {
    if (input.flag("move") || input.flag("force"))
      throw new GuardError("USAGE", "--prepare asks nobody: 'vifguard activate PORT' does, when the guest runs here");
    return "prepare";
  }
  if (!input.flag("force")) return input.flag("move") ? "ask" : undefined;
  if (input.flag("move")) return "force";
  throw new GuardError("USAGE", "--force goes with --move: it takes the NIC from a host that is off for certain");
}

export const attachCommand: Command = {
  name: "attach",
  summary: "give a port to a guest: rules in, read back, link up",
  details:
    "Answers when the port is guarded and up. On any failure the port is down and shut, and the status is not 0.",
  arguments: [{ name: "PORT", text: "the host end of the guest's NIC, such as vif1.0", required: true }],
  options: {
    guest: { type: "string", value: "NAME", text: "the guest" },
    nic: {
      type: "string",
      value: "N",
      text: "which of its NICs, counted from 0 (default: the first that has no port)",
    },
    prepare: {
      type: "boolean",
      text: "put the rules in and keep the port shut, while another has the NIC: for a guest that is on its way. 'vifguard activate PORT' opens it, 'vifguard detach PORT' gives it up",
    },
    move: {
      type: "boolean",
      text: "take the NIC from the port that has it, on this host or another: that one is shut before this one opens",
    },
    force: {
      type: "boolean",
      text: "with --move: when it does not answer, take the NIC all the same. TWO HOSTS ANSWER FOR ONE ADDRESS if that host is not off",
    },
    "stand-in-for": {
      type: "string",
      value: "PORT",
      text: "serve for that port of the same NIC while the guest is not connected there: of the two one is open",
    },
  },
  examples: [
    "vifguard attach vif1.0 --guest web1",
    "vifguard attach tap7 --guest db1 --nic 1",
    "vifguard attach vif9.0 --guest web1 --move",
    "vifguard attach vif9.0 --guest web1 --prepare",
    "vifguard attach vif1.0-emu --guest web1 --stand-in-for vif1.0",
  ],
  run: async (input, io) => {
    const format = formatOf(input);
    const guest = input.option("guest");
    const nic = nicNumber(input);
    if (guest === undefined) throw new GuardError("USAGE", "--guest is missing: whose port is it?");
    const move = moveKind(input);
    const standsInFor = input.option("stand-in-for");
    const port = await clientFor(input, io).attach({
      port: input.argument("PORT"),
      guest,
      ...(nic === undefined ? {} : { nic }),
      ...(move === undefined ? {} : { move }),
      ...(standsInFor === undefined ? {} : { standsInFor }),
    });
    await show(io, format, port, () => attachedText(port));
    return 0;
  },
};

function attachedText(port: PortView): string {
  const shut = port.state === "applied" ? "" : ` (${port.state}: ${clean(port.why ?? "shut")})`;
  return `${clean(port.port)}: ${clean(port.guest)} NIC ${port.nic}, ${port.mac}, ${addressText(port, ", ")} on ${clean(port.network)}${shut}\n`;
}

export const activateCommand: Command = {
  name: "activate",
  summary: "open a port that was prepared: whoever has its NIC lets go first",
  details:
    "Answers when the port is open. Until then, and on any failure before the other port has let go, that one has the NIC. A port that is open already stays so.",
  arguments: [
    { name: "PORT", text: "a port that was given to its guest by 'vifguard attach --prepare'", required: true },
  ],
  options: {
    force: {
      type: "boolean",
      text: "when the other does not answer, take the NIC all the same. TWO HOSTS ANSWER FOR ONE ADDRESS if that host is not off",
    },
  },
  examples: ["vifguard activate vif9.0"],
  run: async (input, io) => {
    const format = formatOf(input);
    const client = clientFor(input, io);
    const name = input.argument("PORT");
    const present = (await client.status()).ports.find(({ port }) => port === name);
    if (present === undefined)
      throw new GuardError("NOT_FOUND", `port '${name}' was not prepared: 'vifguard attach' says whose it is`, {
        fields: { port: name },
      });
    const { guest, nic } = present;
    const port = await client.attach({ port: name, guest, nic, move: input.flag("force") ? "force" : "ask" });
    await show(io, format, port, () => attachedText(port));
    return 0;
  },
};

export const detachCommand: Command = {
  name: "detach",
  summary: "take a port back: link down, every trace removed",
  details: "A port that is not attached is fine.",
  arguments: [{ name: "PORT", text: "the host end of the guest's NIC", required: true }],
  options: {},
  examples: ["vifguard detach vif1.0"],
  run: async (input, io) => {
    const format = formatOf(input);
    const port = input.argument("PORT");
    const done = await clientFor(input, io).detach(port);
    await show(io, format, done, () => `${clean(port)}: ${done.detached ? "detached" : "was not attached"}\n`);
    return 0;
  },
};

/** What is neither found nor needed is no news; the agent does not run without what it needs. */
function capabilityLines(all: StatusView["kernel"]["capabilities"]): Readonly<Record<string, readonly string[]>> {
  const named = (has: (typeof all)[number]["has"]): readonly string[] =>
    all
      .filter((one) => one.has === has)
      .map(({ name, needed, policy }) => (needed || policy ? name : `${name} (not used)`));
  return { "kernel has": named("yes"), "kernel has not": named("no"), "read back at attach": named("untested") };
}

/** Such as `12 answered; no answer due: unserved 3`. */
function dhcpLines({ offers, acks, naks, notes, silent, malformed, dropped }: StatusView["dhcp"]): readonly string[] {
  const counted = (says: string, counts: Readonly<Record<string, number>>): readonly string[] => {
    const words = Object.entries(counts).map(([why, count]) => `${clean(why)} ${count}`);
    return words.length === 0 ? [] : [`${says}: ${words.join(", ")}`];
  };
  return [
    `${offers} offers, ${acks} acknowledged, ${naks} refused, ${notes} given back`,
    ...counted("no answer due", silent),
    ...counted("malformed", malformed),
    ...counted("not answered", dropped),
  ];
}

function hostsText(hosts: StatusView["hosts"]): string {
  const known = Object.entries(hosts).filter(([, count]) => count > 0);
  return known.map(([state, count]) => `${count} ${state}`).join(", ");
}

function statusText(status: StatusView): string {
  const { conditions, ports, unbound, settings, portPrefixes, kernel, store, hosts, host, version, startedAt } = status;
  const conditionLines = conditions.map(
    ({ severity, code, text, since }) =>
      `${severity.toUpperCase()} ${code}: ${clean(text)} (for ${span(Date.now() - since)})\n`,
  );
  const facts = {
    host,
    version,
    up: span(Date.now() - startedAt),
    guard: kernel.guard,
    kernel: `Linux ${kernel.release}, ${kernel.nft}`,
    shape: kernel.shape,
    policy: `${kernel.policy}: ${policyShapeCatalogue[kernel.policy]}`,
    ...capabilityLines(kernel.capabilities),
    store: `${store.kind}, revision ${store.revision}`,
    hosts: hostsText(hosts),
    "closed by name": portPrefixes.map((prefix) => `${prefix}*`),
    unbound,
    dhcp: dhcpLines(status.dhcp),
    "settings changed": settings.map(({ setting, value, was, why }) => `${setting} ${was} to ${value}: ${clean(why)}`),
  };
  return [
    ...(conditionLines.length === 0 ? ["healthy\n"] : conditionLines),
    "\n",
    sections(facts),
    "\n",
    table(ports, portColumns, "no port is attached"),
  ].join("");
}

export const statusCommand: Command = {
  name: "status",
  summary: "conditions, ports, what is enforced and what is shut",
  details: "Ends with status 1 when a condition of severity error stands.",
  arguments: [],
  options: {},
  examples: ["vifguard status", "vifguard status -o json"],
  run: async (input, io) => {
    const format = formatOf(input);
    const status = await clientFor(input, io).status();
    await show(io, format, status, () => statusText(status));
    return status.healthy ? 0 : 1;
  },
};
