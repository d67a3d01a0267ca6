/** The agent in the host box, and what is asked of it by the command line that users have. */
import { readFile, writeFile } from "node:fs/promises";
import { execPath } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError } from "../model/errors.ts";
import { type MacAddress, parseMac } from "../model/mac.ts";
import { type Reason, reasonTable } from "../model/reasons.ts";
import { builtFile } from "./built.ts";
import { exec, must } from "./exec.ts";
import type { Lab } from "./raise.ts";
import type { LabAgent } from "./state.ts";
import type { GuestBox, Topology } from "./topology.ts";
import type { Counts } from "./trial.ts";

const START_MS = 20_000;
const POLL_MS = 100;

function agentOf(lab: Lab): LabAgent {
  const { directory } = lab;
  return { socket: `${directory}/agent.sock`, stateDirectory: `${directory}/state`, log: `${directory}/agent.log` };
}

/** One vifguard command against the lab's agent; its standard output. @throws COMMAND_FAILED */
export function ask(agent: LabAgent, words: readonly string[]): Promise<string> {
  return must([execPath, builtFile("main.js"), ...words, "--socket", agent.socket]);
}

/** Exit status 7 is AGENT_UNREACHABLE; any other is an answer. */
export async function isAnswering(agent: LabAgent): Promise<boolean> {
  const { status } = await exec([execPath, builtFile("main.js"), "status", "--socket", agent.socket]);
  return status !== 7;
}

/** Returns when it answers. It ends with the lab. @throws COMMAND_FAILED with the end of its log */
export async function startAgent(lab: Lab): Promise<LabAgent> {
  const agent = agentOf(lab);
  const options = ["--state-dir", agent.stateDirectory, "--socket", agent.socket];
  const process = await lab.start("host", [execPath, builtFile("main.js"), "agent", ...options], "agent.log");
  const ended = process.ended.then((status) => `it ended with status ${status}`);
  const deadline = performance.now() + START_MS;
  while (!(await isAnswering(agent))) {
    const why = await Promise.race([ended, sleep(POLL_MS)]);
    if (why === undefined && performance.now() < deadline) continue;
    const log = await readFile(agent.log, "utf8");
    throw new GuardError("COMMAND_FAILED", `the lab's agent did not start, ${why ?? "no answer"}: ${log.slice(-2000)}`);
  }
  return agent;
}

/** The sample site: one network, every guest with the address that the topology gives it. */
function siteOf(topology: Topology): string {
  const { prefix4, gateway, neighbour, guests } = topology;
  const network = [
    "kind: network",
    "name: lan0",
    "spec:",
    `  prefix4: ${prefix4}`,
    `  gateway4: ${gateway.address}`,
    `  range4: [${guests[0]?.address}-${prefix4.replace(/\.0\/24$/, ".250")}]`,
    "  wiring: { kind: bridged, bridge: br0, uplink: eth0 }",
    `  addressing: { kind: managed, leaseSeconds: 3600, dns: [${neighbour.address}], macScheme: ip }`,
  ];
  const declared = guests.flatMap(({ box, address }) => [
    "---",
    "kind: guest",
    `name: ${box}`,
    "spec:",
    `  nics: [{ network: lan0, address4: ${address} }]`,
  ]);
  return `${[...network, ...declared].join("\n")}\n`;
}

/** @returns the file's name, which stays with the lab for the user to play with */
export async function applySite(lab: Lab, agent: LabAgent): Promise<string> {
  const file = `${lab.directory}/site.yaml`;
  await writeFile(file, siteOf(lab.topology));
  await ask(agent, ["apply", "-f", file]);
  return file;
}

function fieldOf(json: string, field: string): string {
  const value: unknown = JSON.parse(json);
  return typeof value === "object" && value !== null ? String(new Map(Object.entries(value)).get(field)) : "";
}

/** Attaches a guest's port and gives the guest the MAC that was decided for it, as a hypervisor would. */
export async function attachGuest(lab: Lab, agent: LabAgent, guest: GuestBox): Promise<MacAddress> {
  const port = await ask(agent, ["attach", guest.port, "--guest", guest.box, "-o", "json"]);
  const mac = parseMac(fieldOf(port, "mac"));
  if (mac === undefined) throw new GuardError("COMMAND_FAILED", `attach of ${guest.port} named no MAC: ${port}`);
  await lab.must(guest.box, ["ip", "link", "set", "eth0", "address", mac]);
  return mac;
}

function isReason(text: string): text is Reason {
  return text in reasonTable;
}

/** `drops -o json`, summed over what a port's guest sent. */
export function parseCounts(json: string, port: string): Counts {
  const rows: unknown = JSON.parse(json);
  const counts = new Map<Reason, number>();
  for (const row of Array.isArray(rows) ? rows : []) {
    const fields = new Map<string, unknown>(Object.entries(row));
    const reason = String(fields.get("reason"));
    if (fields.get("port") !== port || fields.get("direction") !== "from-guest" || !isReason(reason)) continue;
    counts.set(reason, (counts.get(reason) ?? 0) + Number(fields.get("packets")));
  }
  return counts;
}

export async function countsOf(agent: LabAgent, port: string): Promise<Counts> {
  return parseCounts(await ask(agent, ["drops", "-o", "json"]), port);
}
