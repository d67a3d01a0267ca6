/** What is up: one JSON file per lab under /run/vifguard-lab, written before anything is made, so that `down` never depends on a living process. */
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { z } from "zod";
import { GuardError } from "../model/errors.ts";
import {
  type LabName,
  type LabWiring,
  labName,
  labOfNamespace,
  labWirings,
  type NicKind,
  nicKinds,
  parseLabName,
} from "./topology.ts";

const LAB_DIRECTORY = "/run/vifguard-lab";
/** Where `ip netns` keeps its names. */
const NETNS_DIRECTORY = "/run/netns";

const agentSchema = z.object({ socket: z.string(), stateDirectory: z.string(), log: z.string() });
const stateSchema = z.object({
  format: z.literal(1),
  name: z.string(),
  guests: z.number().int().min(1),
  nic: z.enum(nicKinds),
  wiring: z.enum(labWirings).optional(),
  hosts: z.union([z.literal(2), z.literal(3)]).optional(),
  members: z.number().int().min(1).optional(),
  /** Milliseconds since the Unix epoch. */
  createdAt: z.number(),
  agent: agentSchema.optional(),
});

/** The agent that `lab up` started inside the host box. */
export type LabAgent = Readonly<z.infer<typeof agentSchema>>;
export interface LabState {
  readonly format: 1;
  readonly name: LabName;
  readonly guests: number;
  readonly nic: NicKind;
  readonly wiring?: LabWiring;
  readonly hosts?: 2 | 3;
  readonly members?: number;
  readonly createdAt: number;
  readonly agent?: LabAgent;
}

/** The lab's own files: sockets, logs, the agent's state. */
export function directoryOf(name: LabName): string {
  return `${LAB_DIRECTORY}/${name}`;
}

function fileOf(name: LabName): string {
  return `${LAB_DIRECTORY}/${name}.json`;
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "";
}

/** Takes the name: of two who want it, one gets LAB_UP. @throws LAB_UP */
export async function claim(state: LabState): Promise<void> {
  await mkdir(directoryOf(state.name), { recursive: true, mode: 0o700 });
  try {
    await writeFile(fileOf(state.name), JSON.stringify(state), { flag: "wx", mode: 0o600 });
  } catch (cause) {
    if (codeOf(cause) !== "EEXIST") throw cause;
    throw new GuardError("LAB_UP", `lab '${state.name}' is up already`, { fields: { name: state.name }, cause });
  }
}

export async function save(state: LabState): Promise<void> {
  const draft = `${fileOf(state.name)}.${process.pid}`;
  await writeFile(draft, JSON.stringify(state), { mode: 0o600 });
  await rename(draft, fileOf(state.name));
}

/** Text of a state file; undefined when it is not one of ours (cut short by a crash, or from another version). */
export function parseState(text: string): LabState | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = stateSchema.safeParse(json);
  const name = parsed.success ? parseLabName(parsed.data.name) : undefined;
  if (!parsed.success || name === undefined) return undefined;
  const { agent, wiring, hosts, members, ...rest } = parsed.data;
  return {
    ...rest,
    name,
    ...(wiring === undefined ? {} : { wiring }),
    ...(hosts === undefined ? {} : { hosts }),
    ...(members === undefined ? {} : { members }),
    ...(agent === undefined ? {} : { agent }),
  };
}

/** undefined when there is no such lab or its file cannot be read as one. */
export async function find(name: LabName): Promise<LabState | undefined> {
  try {
    return parseState(await readFile(fileOf(name), "utf8"));
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return undefined;
    throw cause;
  }
}

/** @throws LAB_DOWN */
export async function requireLab(text: string): Promise<LabState> {
  const name = labName(text);
  const state = await find(name);
  if (state === undefined) throw new GuardError("LAB_DOWN", `lab '${name}' is not up`, { fields: { name } });
  return state;
}

async function entries(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return [];
    throw cause;
  }
}

/** Namespaces that exist now; of one lab, or of all labs. */
export async function namespaces(name?: LabName): Promise<readonly string[]> {
  const all = (await entries(NETNS_DIRECTORY)).filter((netns) => {
    const lab = labOfNamespace(netns);
    return lab !== undefined && (name === undefined || lab === name);
  });
  return all.sort();
}

/** Every lab of which anything is left: a state file, or only a namespace. */
export async function labs(): Promise<readonly LabName[]> {
  const names = new Set<LabName>();
  for (const entry of await entries(LAB_DIRECTORY)) {
    const name = parseLabName(entry.replace(/\.json$/, ""));
    if (name !== undefined) names.add(name);
  }
  for (const netns of await namespaces()) {
    const name = labOfNamespace(netns);
    if (name !== undefined) names.add(name);
  }
  return [...names].sort();
}

/** Files first, the claim last: until then nobody else gets the name. */
export async function forget(name: LabName): Promise<void> {
  await rm(directoryOf(name), { recursive: true, force: true });
  await rm(fileOf(name), { force: true });
}
