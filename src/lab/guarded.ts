/** The agent in the host box, and what is asked of it by the command line that users have. */
import { readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { execPath } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../api/client.ts";
import { GuardError } from "../model/errors.ts";
import { type MacAddress, parseMac } from "../model/mac.ts";
import type { DropCount } from "../model/operations.ts";
import type { Direction, Reason } from "../model/reasons.ts";
import { builtFile } from "./built.ts";
import { exec, must } from "./exec.ts";
import { patience } from "./patience.ts";
import type { Lab } from "./raise.ts";
import type { LabAgent } from "./state.ts";
import {
  GATEWAY6,
  type GuestBox,
  globalOf,
  HOST_BRIDGE,
  type HostBox,
  LAB_POOL,
  LAB_POOL6,
  type Topology,
} from "./topology.ts";
import type { Counts } from "./trial.ts";

const START_MS = patience(20_000);
const POLL_MS = 100;

function agentOf(lab: Lab, host: HostBox): LabAgent {
  const own = host === "host" ? "" : `${host}-`;
  const at = (name: string): string => `${lab.directory}/${own}${name}`;
  return { socket: at("agent.sock"), stateDirectory: at("state"), log: at("agent.log") };
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

/**
 * Returns when it answers. It ends with the lab.
 * @param more options of its command line
 * @throws COMMAND_FAILED with the end of its log
 */
export async function startAgent(lab: Lab, more: readonly string[] = [], host: HostBox = "host"): Promise<LabAgent> {
  const agent = agentOf(lab, host);
  const options = ["--state-dir", agent.stateDirectory, "--socket", agent.socket, ...more];
  const process = await lab.start(host, [execPath, builtFile("main.js"), "agent", ...options], basename(agent.log));
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

/** What the network says of its wiring. Where the host routes it is the gateway of IPv6. */
export function wiringLines({ wiring }: Topology, gives: "address" | "prefix" = "address"): readonly string[] {
  switch (wiring) {
    case "brouted":
      return [`  wiring: { kind: brouted, bridge: ${HOST_BRIDGE} }`];
    case "routed":
    case "nat":
      return [`  wiring: { kind: ${wiring}, uplink: eth0, gives: ${gives} }`];
    case "transport":
      return ["  wiring: { kind: transport, uplink: eth0 }"];
    default:
      return [`  gateway6: ${GATEWAY6}`, `  wiring: { kind: bridged, bridge: ${HOST_BRIDGE}, uplink: eth0 }`];
  }
}

/** Its prefixes, and the gateway where there is one of the network. */
export function prefixLines({ wiring, guests4, prefix6 }: Topology): readonly string[] {
  if (wiring === "transport") return [`  prefix4: ${LAB_POOL}`, `  prefix6: ${LAB_POOL6}`];
  return [`  prefix4: ${guests4.prefix4}`, `  gateway4: ${guests4.gateway4}`, `  prefix6: ${prefix6}`];
}

/** The addresses that the topology gives the guest, as fields of its NIC. */
export function addressFields({ wiring }: Topology, guest: GuestBox): string {
  const six = wiring === "transport" ? `, address6: '${globalOf(guest)}'` : "";
  const outside = guest.public4 === undefined ? "" : `, public4: ${guest.public4}`;
  return `address4: ${guest.address}${six}${outside}`;
}

/** Where addresses are taken from: the guests' and more. */
function rangeOf({ wiring, guests4, guests }: Topology): string {
  if (wiring !== "transport") return `${guests[0]?.address}-${guests4.prefix4.replace(/\.0\/24$/, ".250")}`;
  return `${LAB_POOL.replace("/24", "")}-${LAB_POOL.replace(".0/24", ".255")}`;
}

/** The sample site: one network, every guest with the address that the topology gives it. */
function siteOf(topology: Topology): string {
  const { neighbour, guests } = topology;
  const network = [
    "kind: network",
    "name: lan0",
    "spec:",
    ...prefixLines(topology),
    `  range4: [${rangeOf(topology)}]`,
    ...wiringLines(topology),
    `  addressing: { kind: managed, leaseSeconds: 3600, dns: [${neighbour.address}], macScheme: ip }`,
    "  groups: [open]",
    "---",
    "kind: group",
    "name: open",
    "spec: { ingress: [{ protocol: any, from: any }] }",
  ];
  const declared = guests.flatMap((guest) => [
    "---",
    "kind: guest",
    `name: ${guest.box}`,
    "spec:",
    `  nics: [{ network: lan0, ${addressFields(topology, guest)} }]`,
  ]);
  return `${[...network, ...declared].join("\n")}\n`;
}

/** @returns the file's name, which stays with the lab for the user to play with */
export function applySite(lab: Lab, agent: LabAgent): Promise<string> {
  return applyDocuments(lab, agent, "site", siteOf(lab.topology));
}

/** A guest offers these TCP ports to the other guests, or nothing at all, and nobody else anything. */
export function offerPorts(lab: Lab, agent: LabAgent, guest: GuestBox, ports: readonly number[]): Promise<string> {
  const rules = ports.length === 0 ? "" : `{ protocol: tcp, ports: [${ports.join(", ")}], from: { group: open } }`;
  return applyDocuments(
    lab,
    agent,
    "server",
    `kind: group
name: server
spec: { ingress: [${rules}] }
---
kind: guest
name: ${guest.box}
spec: { nics: [{ network: lan0, ${addressFields(lab.topology, guest)}, groups: [server] }] }
`,
  );
}

async function applyDocuments(lab: Lab, agent: LabAgent, name: string, text: string): Promise<string> {
  const file = `${lab.directory}/${name}.yaml`;
  await writeFile(file, text);
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

/** Summed by reason, observed or not. */
export function sumCounts(rows: readonly DropCount[], direction: Direction = "from-guest"): Counts {
  const counts = new Map<Reason, number>();
  for (const row of rows)
    if (row.direction === direction) counts.set(row.reason, (counts.get(row.reason) ?? 0) + row.packets);
  return counts;
}

/** Frames of a port's guest that were refused so far, by line of the contract. */
export async function countsOf({ socket }: LabAgent, port: string): Promise<Counts> {
  return sumCounts(await connect(socket).drops({ port }));
}
