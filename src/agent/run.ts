/** The daemon as a process: opens the seams, starts the agent and its API, and goes without touching a rule. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { hostname, release } from "node:os";
import { pino } from "pino";
import { probeCapabilities } from "../kernel/capabilities.ts";
import { openConntrack } from "../kernel/conntrack-netlink.ts";
import { openDatagrams } from "../kernel/datagrams-socket.ts";
import { openFrames } from "../kernel/frames-netlink.ts";
import { openLinks } from "../kernel/links-netlink.ts";
import { openNft } from "../kernel/nft-netlink.ts";
import { openProbes } from "../kernel/probes-netlink.ts";
import { openRoutes } from "../kernel/routes-netlink.ts";
import { openSysctls } from "../kernel/sysctls.ts";
import {
  type Capability,
  canTranslate,
  capabilities,
  capabilityViews,
  parseCapability,
  policyShapeOf,
  shapeOf,
  without,
} from "../model/capabilities.ts";
import { GuardError } from "../model/errors.ts";
import { parseHostId, parsePortPrefix } from "../model/names.ts";
import type { Attachment } from "../model/resources.ts";
import { RESPONDER_MARK } from "../ruleset/parts.ts";
import { familiesOf } from "../ruleset/policy-sets.ts";
import { buildSkeleton } from "../ruleset/skeleton.ts";
import { startAgent } from "./agent.ts";
import type { AgentParts } from "./core.ts";
import { createEnforcer } from "./enforcer.ts";
import { currentEpoch } from "./epoch.ts";
import { addressOfHost, identityOf, keepInstance } from "./instance.ts";
import { startListeners } from "./listeners.ts";
import { type Life, startLives } from "./lives.ts";
import { openStore } from "./open-store.ts";
import type { AgentOptions } from "./options.ts";
import { isLive } from "./ports.ts";
import { tellReady } from "./ready.ts";
import { isOfHost } from "./restores.ts";
import { orShut } from "./unsupported.ts";

/** Everything is read back this often though nothing was heard: what no event tells (forwarding entries) is found by it. */
const AUDIT_EVERY = 60_000;

const systemClock = { now: () => Date.now() };

function nftVersion(): string {
  try {
    return execFileSync("nft", ["--version"], { encoding: "utf8", timeout: 5000 }).trim();
  } catch (cause) {
    throw new GuardError("KERNEL_UNSUPPORTED", "the program 'nft' cannot be run", { cause });
  }
}

function requireRoot(): void {
  const line = readFileSync("/proc/self/status", "utf8").match(/^CapEff:\s*([0-9a-f]+)$/m)?.[1] ?? "0";
  // CAP_NET_ADMIN 12, CAP_NET_RAW 13 (linux/capability.h).
  const wanted = (1n << 12n) | (1n << 13n);
  if ((BigInt(`0x${line}`) & wanted) !== wanted)
    throw new GuardError("NOT_PRIVILEGED", "the agent may not change network rules here");
}

function named(options: AgentOptions): {
  host: NonNullable<ReturnType<typeof parseHostId>>;
  portPrefixes: NonNullable<ReturnType<typeof parsePortPrefix>>[];
} {
  const text = (options.host ?? hostname()).toLowerCase();
  const host = parseHostId(text);
  if (host === undefined)
    throw new GuardError("USAGE", `'${text}' cannot name a host: letters, digits, dots and dashes, at most 63`, {
      fields: { host: text },
    });
  const portPrefixes = options.portPrefixes.map((prefix) => {
    const parsed = parsePortPrefix(prefix);
    if (parsed === undefined)
      throw new GuardError("USAGE", `${JSON.stringify(prefix)} cannot begin an interface name`, { fields: { prefix } });
    return parsed;
  });
  return { host, portPrefixes };
}

/** @throws USAGE */
function capabilityNamed(text: string): Capability {
  const name = parseCapability(text);
  if (name !== undefined) return name;
  throw new GuardError("USAGE", `--without ${JSON.stringify(text)} is none of ${capabilities.join(", ")}`);
}

/** @throws KERNEL_UNSUPPORTED */
async function lookAtKernel(taken: readonly Capability[]): Promise<AgentParts["kernel"]> {
  const nft = nftVersion();
  const found = without(await probeCapabilities(), taken);
  return {
    release: release(),
    nft,
    shape: shapeOf(found),
    policy: policyShapeOf(found),
    capabilities: capabilityViews(found),
  };
}

/** Where the state directory is there already. */
function presenceOf(
  { stateDirectory, etcd, network }: AgentOptions,
  epoch: string,
  portPrefixes: readonly string[],
): NonNullable<AgentParts["presence"]> {
  const address = network?.listen ?? addressOfHost(portPrefixes);
  return {
    identity: identityOf(stateDirectory, epoch),
    isAlone: etcd === undefined,
    ...(address === undefined ? {} : { address }),
    keepInstance: (instance) => keepInstance(stateDirectory, instance),
  };
}

/** Runs until SIGTERM or SIGINT. With `loadOnly` the ports are shut by name and that is all: for early boot. @throws GuardError */
export async function runAgent(options: AgentOptions, version: string): Promise<void> {
  requireRoot();
  const { host, portPrefixes } = named(options);
  const taken = options.without.map(capabilityNamed);
  const log = pino({ level: options.logLevel, base: { host } });
  const nft = openNft();
  const links = openLinks();
  const routing = { routes: openRoutes(), sysctls: openSysctls() };
  const kernel = await orShut({ nft, links, portPrefixes, log }, () => lookAtKernel(taken));
  if (options.loadOnly) {
    const { loaded } = await createEnforcer(
      nft,
      links,
      routing,
      buildSkeleton(portPrefixes, familiesOf(kernel.policy), canTranslate(kernel)),
    ).ensureSkeleton();
    log.info({ loaded, portPrefixes }, "unbound ports are shut");
    routing.routes.close();
    nft.close();
    links.close();
    return;
  }
  const frames = openFrames(RESPONDER_MARK);
  const datagrams = openDatagrams();
  const conntrack = openConntrack();
  const probes = openProbes();
  const epoch = currentEpoch();
  const isOpen = (attachment: Attachment): boolean =>
    isLive({ epoch, links }, attachment) && links.byIndex(attachment.ifindex)?.up === true;
  const shut = ({ ifindex }: Attachment): void => links.setUp(ifindex, false);
  const isOwn = (attachment: Attachment): boolean => isOfHost(attachment, identityOf(options.stateDirectory, epoch));
  async function begin(): Promise<Life> {
    const opened = await openStore(options, { host, isOwn, isOpen, shut, log });
    const { kind: storeKind, health: storeHealth, restored, ...kept } = opened;
    const agent = await startAgent({
      nft,
      links,
      frames,
      routing,
      datagrams,
      conntrack,
      probes,
      ...kept,
      clock: systemClock,
      log,
      host,
      epoch,
      portPrefixes,
      version,
      kernel,
      storeKind,
      storeHealth,
      presence: presenceOf(options, epoch, portPrefixes),
      auditEvery: AUDIT_EVERY,
    });
    return { agent, store: kept.store, restored };
  }
  const lives = await startLives(begin, () => log.warn({}, "the store was restored; reading it anew, the rules stay"));
  const server = await startListeners(options, { operations: lives.operations, version, log, host });
  log.info({ socket: options.socket }, "ready");
  const untold = tellReady();
  if (untold !== undefined) log.warn({ why: untold }, "systemd could not be told");
  const ended = new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
  }).then(async () => {
    log.info({}, "stopping; the rules stay");
    await server.close();
  });
  await lives.run(ended);
  probes.close();
  conntrack.close();
  frames.close();
  routing.routes.close();
  links.close();
  nft.close();
}
