/** The main job, shown on one screen: two guests behind the guard, real leases, pings, ten lies that get nowhere, and a service that is offered and taken back. */
import { GuardError } from "../model/errors.ts";
import { attackNamed, demoLies } from "./attacks.ts";
import { type DhcpClient, getLease } from "./dhcp-client.ts";
import { applySite, ask, attachGuest, countsOf, startAgent } from "./guarded.ts";
import { type Lab, withLab } from "./raise.ts";
import { isStopped, renderTrials } from "./report.ts";
import { playServices } from "./services.ts";
import { type LabAgent, labs } from "./state.ts";
import type { GuestBox, NicKind, Party } from "./topology.ts";
import { openBench, type Trial } from "./trial.ts";

export interface ScenarioOptions {
  readonly name: string;
  readonly nic: NicKind;
  readonly print: (line: string) => void;
}

/** One client of each family: they differ in what they send (client-id, broadcast flag). */
const clients: readonly DhcpClient[] = ["udhcpc", "dhclient"];

async function ping(lab: Lab, from: GuestBox, to: Party, who: string, print: (line: string) => void): Promise<void> {
  const argv = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "2", to.address];
  const { status, stdout } = await lab.exec(from.box, argv);
  if (status !== 0) throw new GuardError("COMMAND_FAILED", `${from.box} cannot ping ${who} (${to.address}): ${stdout}`);
  print(`${from.box} pings ${who} (${to.address})`);
}

/** Attached, addressed by DHCP, and who they are now. */
async function bringUp(lab: Lab, agent: LabAgent, print: (line: string) => void): Promise<readonly GuestBox[]> {
  const ready: GuestBox[] = [];
  for (const [i, guest] of lab.topology.guests.entries()) {
    const mac = await attachGuest(lab, agent, guest);
    print(`attached ${guest.port} to ${guest.box}: ${mac}`);
    const client = clients[i % clients.length] ?? "udhcpc";
    const address = await getLease(lab, guest.box, client);
    print(`${guest.box} got ${address} by DHCP (${client})`);
    ready.push({ ...guest, mac, address });
  }
  return ready;
}

async function tellLies(lab: Lab, agent: LabAgent, liar: GuestBox, victim: GuestBox): Promise<readonly Trial[]> {
  const counts = (): ReturnType<typeof countsOf> => countsOf(agent, liar.port);
  const bench = await openBench(lab, { from: liar.box, parties: { self: liar, victim }, counts });
  try {
    const trials: Trial[] = [];
    for (const name of demoLies) trials.push(await bench.try(attackNamed(name)));
    return trials;
  } finally {
    await bench.close();
  }
}

async function play(lab: Lab, print: (line: string) => void): Promise<boolean> {
  print(`a LAN, a host and ${lab.topology.guests.length} guests are up (lab '${lab.topology.name}')`);
  const agent = await startAgent(lab);
  print("the agent runs inside the host");
  await applySite(lab, agent);
  print("the site is applied: one network, two guests");
  const [liar, victim] = await bringUp(lab, agent, print);
  if (liar === undefined || victim === undefined) throw new TypeError("the scenario needs two guests");
  await ping(lab, liar, lab.topology.gateway, "the gateway", print);
  await ping(lab, liar, victim, victim.box, print);
  await ping(lab, victim, liar, liar.box, print);
  print(`${liar.box} tells ${demoLies.length} lies; gateway, neighbour and ${victim.box} listen`);
  const trials = await tellLies(lab, agent, liar, victim);
  for (const line of renderTrials(trials, true).split("\n")) print(line);
  await ping(lab, liar, victim, victim.box, print);
  const held = await playServices(lab, agent, [liar, victim], print);
  for (const line of (await ask(agent, ["drops"])).trimEnd().split("\n")) print(`  | ${line}`);
  return held && trials.every((trial) => isStopped(trial, true));
}

/** @returns whether every lie was stopped and counted and all honest traffic passed @throws GuardError when something cannot be set up */
export async function runScenario(options: ScenarioOptions): Promise<boolean> {
  const started = performance.now();
  const print = (line: string): void =>
    options.print(`[${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s] ${line}`);
  const stopped = await withLab({ name: options.name, guests: 2, nic: options.nic }, (lab) => play(lab, print));
  const left = (await labs()).filter((name) => name === options.name);
  print(left.length === 0 ? "nothing is left behind" : `LEFT BEHIND: lab '${options.name}'`);
  print(stopped ? "every lie was stopped and counted; all honest traffic passed; groups held" : "FAILED: see above");
  return stopped && left.length === 0;
}
