/** What a user does with a lab that stays up: raise it with an agent, look at it, go inside, tell lies, remove it. */
import { env } from "node:process";
import { GuardError } from "../model/errors.ts";
import { attackNamed, demoLies } from "./attacks.ts";
import { getLease } from "./dhcp-client.ts";
import { interact } from "./exec.ts";
import { applySite, attachGuest, countsOf, isAnswering, startAgent } from "./guarded.ts";
import { type Lab, openLab, withLab } from "./raise.ts";
import { isStopped, renderTrials } from "./report.ts";
import { find, type LabAgent, type LabState, labs, namespaces, requireLab, save } from "./state.ts";
import { tearDown } from "./teardown.ts";
import { boxOf, type GuestBox, type LabName, type LabOptions, labName, namespaceOf, planLab } from "./topology.ts";
import { openBench, type Trial } from "./trial.ts";

export type Print = (line: string) => void;

export interface LabStatus {
  readonly name: LabName;
  /** whole: everything is there. partial: some of it is gone, or only a name is left; `lab down` removes the rest. */
  readonly state: "whole" | "partial";
  readonly boxes: readonly string[];
  readonly missing: readonly string[];
  readonly nic: string;
  readonly createdAt: number | undefined;
  readonly agent: { readonly socket: string; readonly answers: boolean } | undefined;
}

async function startGuarded(lab: Lab, print: Print): Promise<LabAgent> {
  const agent = await startAgent(lab);
  print(`the agent runs inside the host: --socket ${agent.socket}`);
  const file = await applySite(lab, agent);
  print(`applied ${file}`);
  for (const guest of lab.topology.guests) {
    const mac = await attachGuest(lab, agent, guest);
    const address = await getLease(lab, guest.box, "udhcpc");
    print(`attached ${guest.port} to ${guest.box}: ${mac}, ${address} by DHCP`);
  }
  return agent;
}

/** Raised, guarded and ready to play with; on any failure nothing is left. @throws GuardError */
export async function labUp(options: LabOptions & { readonly agent: boolean }, print: Print): Promise<void> {
  const raise = async (lab: Lab): Promise<void> => {
    const { name } = lab.topology;
    print(`lab '${name}' is up: ${lab.topology.boxes.join(", ")}`);
    if (!options.agent) return;
    const agent = await startGuarded(lab, print);
    await save({ ...(await requireLab(name)), agent });
  };
  await withLab(options, raise, "keep");
}

async function statusOf(name: LabName): Promise<LabStatus> {
  const state: LabState | undefined = await find(name);
  const boxes = await namespaces(name);
  const wanted = state === undefined ? [] : planLab(state).boxes.map((box) => namespaceOf(name, box));
  const missing = wanted.filter((netns) => !boxes.includes(netns));
  const agent = state?.agent;
  return {
    name,
    state: state !== undefined && missing.length === 0 ? "whole" : "partial",
    boxes,
    missing,
    nic: state?.nic ?? "",
    createdAt: state?.createdAt,
    agent: agent === undefined ? undefined : { socket: agent.socket, answers: await isAnswering(agent) },
  };
}

export async function labStatus(): Promise<readonly LabStatus[]> {
  return Promise.all((await labs()).map(statusOf));
}

/** A shell, or one command, inside a box. @returns its exit status @throws LAB_DOWN, NOT_FOUND */
export async function labShell(name: string, box: string, command: readonly string[]): Promise<number> {
  const state = await requireLab(name);
  const netns = namespaceOf(state.name, boxOf(planLab(state), box));
  const { SHELL = "/bin/sh" } = env;
  const argv = command.length > 0 ? command : [SHELL];
  const socket: Record<string, string> = state.agent === undefined ? {} : { VIFGUARD_SOCKET: state.agent.socket };
  return interact(argv, { netns, env: { ...socket, VIFGUARD_LAB: `${state.name}/${box}` } });
}

function guestOf(lab: Lab, box: string): GuestBox {
  const known = boxOf(lab.topology, box);
  const guest = lab.topology.guests.find((candidate) => candidate.box === known);
  if (guest === undefined) throw new GuardError("USAGE", `only guests tell lies: '${known}' is not one`);
  return guest;
}

/** @param lies names from the table; none for the ten of the demonstration @returns whether all were stopped and the truth passed */
export async function labAttack(
  request: { readonly name: string; readonly from: string; readonly lies: readonly string[] },
  print: Print,
): Promise<boolean> {
  const chosen = (request.lies.length > 0 ? request.lies : demoLies).map(attackNamed);
  const lab = await openLab(request.name);
  const { agent } = await requireLab(request.name);
  const liar = guestOf(lab, request.from);
  const hasCounts = agent !== undefined && (await isAnswering(agent));
  if (!hasCounts) print("no agent answers: what is dropped is not counted here");
  print(`${liar.box} tells ${chosen.length} lies, each with its honest twin: about a second each`);
  const counts = agent !== undefined && hasCounts ? { counts: () => countsOf(agent, liar.port) } : {};
  const bench = await openBench(lab, { from: liar.box, ...counts });
  const trials: Trial[] = [];
  try {
    for (const attack of chosen) trials.push(await bench.try(attack));
  } finally {
    await bench.close();
  }
  print(renderTrials(trials, hasCounts));
  return trials.every((trial) => isStopped(trial, hasCounts));
}

/** @param name undefined for every lab of which anything is left @returns the namespaces removed */
export async function labDown(name: string | undefined): Promise<readonly string[]> {
  const names = name === undefined ? await labs() : [labName(name)];
  const removed: string[] = [];
  for (const each of names) removed.push(...(await tearDown(each)));
  return removed;
}
