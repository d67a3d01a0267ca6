/**
 * The CNI plugin (specification 1.1). First of a list it makes the veth pair; behind another plugin it guards the pair that is there.
 * What it made is known by the alias of the host's end, so that no file has to survive for DEL and GC.
 */

import type { Client } from "../api/client.ts";
import { type ErrorCode, GuardError } from "../model/errors.ts";
import { isGuarded } from "../model/names.ts";
import type { PortView } from "../model/operations.ts";
import {
  type Attachment,
  type CniCall,
  type CniConfig,
  type CniFault,
  cniCodes,
  cniVersions,
  isFault,
  NEWEST,
  parseCall,
} from "./cni-call.ts";
import { addressesAt, addressesOfPort, addressLines, chainedResult, interfaceIndex, newResult } from "./cni-result.ts";
import type { Host } from "./host.ts";
import type { Fields } from "./json.ts";
import { addressesOf, deleteLink, findLink, ip, ipBatch, type LinkView, listLinks } from "./links.ts";
import { networkView, nicsOfGuest } from "./site.ts";

export interface CniParts {
  readonly host: Host;
  /** The agent at a socket; without one the agent of this host. */
  readonly connect: (socket: string | undefined) => Client;
}

export interface CniReply {
  readonly status: number;
  readonly stdout: string;
}

/** A call with what serves it. */
interface Work extends CniCall {
  readonly host: Host;
  readonly client: Client;
}

type Answer = Fields | CniFault | undefined;

const fault = (work: CniCall, code: number, msg: string): CniFault => ({
  kind: "fault",
  cniVersion: work.config.cniVersion,
  code,
  msg,
});

/** `own`: the pair is ours to remove. `chained`: the plugin before removes it. */
type Maker = "own" | "chained";
const ALIAS = "vifguard-cni";
/** IFALIASZ (linux/if.h) with the closing zero. */
const LONGEST_ALIAS = 255;

const aliasOf = (maker: Maker, { network }: CniConfig, { container, ifname }: Attachment): string =>
  `${ALIAS}=${maker} ${network} ${container} ${ifname}`;

function makerOf(link: LinkView, config: CniConfig, attachment: Attachment): Maker | undefined {
  if (link.alias === aliasOf("own", config, attachment)) return "own";
  return link.alias === aliasOf("chained", config, attachment) ? "chained" : undefined;
}

/** A letter after the prefix keeps clear of names that others count up, such as libvirt's vnet7. */
function portName({ host, config, attachment }: Work): string {
  const digits = host.digest(`${config.network} ${attachment.container} ${attachment.ifname}`);
  return `${config.portPrefix}c${digits}`.slice(0, 15);
}

function guestOf(work: Work): string | CniFault {
  if (work.wish.guest !== undefined) return work.wish.guest;
  return fault(
    work,
    cniCodes.config,
    "no guest is named: CNI_ARGS VIFGUARD_GUEST=, the pod's name (K8S_POD_NAME), or 'guest' in the network configuration",
  );
}

/** Everything that can be known to fail before anything is made. */
async function obstacle(work: Work, guest: string): Promise<CniFault | undefined> {
  const { host, config, attachment, netns } = work;
  if (netns === undefined || !(await host.exists(netns)))
    return fault(work, cniCodes.container, `CNI_NETNS ${JSON.stringify(netns)} does not exist`);
  if (aliasOf("chained", config, attachment).length > LONGEST_ALIAS)
    return fault(work, cniCodes.environment, "CNI_CONTAINERID and the network's name are too long to be remembered");
  // Not only a hint: an interface that no rule knows must never come into being.
  await nicsOfGuest(work.client, guest);
  return undefined;
}

async function attach(work: Work, port: string, guest: string): Promise<PortView> {
  const { client, wish } = work;
  return client.attach({ port, guest, ...(wish.nic === undefined ? {} : { nic: wish.nic }) });
}

function refusedWish({ wish }: Work, port: PortView): string | undefined {
  const own = [...port.addresses4, ...port.addresses6];
  const whose = `guest '${port.guest}' NIC ${port.nic}`;
  if (wish.mac !== undefined && wish.mac !== port.mac) return `MAC ${wish.mac} was asked for; ${whose} has ${port.mac}`;
  if (wish.address !== undefined && !own.includes(wish.address))
    return `address ${wish.address} was asked for; ${whose} has ${own.join(", ")}`;
  return undefined;
}

async function seen(work: Work, name: string, netns?: string): Promise<LinkView> {
  const link = await findLink(work.host, name, netns);
  if (link !== undefined) return link;
  throw new GuardError("PORT_MISSING", `interface '${name}' does not exist`, { fields: { port: name } });
}

async function networkOf(work: Work, port: PortView): Promise<ReturnType<typeof networkView>> {
  return networkView((await work.client.get("network", port.network)).spec);
}

/** The pair, the attachment, then the container's end: it comes up when the guard stands. */
async function addFirst(work: Work, guest: string, netns: string): Promise<Answer> {
  const { host, config, attachment, client } = work;
  const name = portName(work);
  const { portPrefixes } = await client.status();
  if (!isGuarded(name, portPrefixes))
    return fault(work, cniCodes.config, `portPrefix '${config.portPrefix}' is not guarded: ${portPrefixes.join(", ")}`);
  if ((await findLink(host, attachment.ifname, netns)) !== undefined)
    return fault(work, cniCodes.environment, `CNI_IFNAME '${attachment.ifname}' exists in the container already`);
  await ip(host, ["link", "add", name, "type", "veth", "peer", "name", attachment.ifname, "netns", netns]);
  try {
    await ip(host, ["link", "set", "dev", name, "alias", aliasOf("own", config, attachment)]);
    const port = await attach(work, name, guest);
    const refused = refusedWish(work, port);
    if (refused !== undefined) throw new GuardError("CONFLICT", refused);
    const network = await networkOf(work, port);
    const mtu = config.mtu ?? network.mtu;
    if (mtu !== undefined) await ip(host, ["link", "set", "dev", name, "mtu", String(mtu)]);
    const addresses = addressesOfPort(port, network);
    const lines = [
      `link set dev ${attachment.ifname} address ${port.mac}${mtu === undefined ? "" : ` mtu ${mtu}`}`,
      `link set dev ${attachment.ifname} up`,
      ...addressLines(attachment.ifname, addresses),
    ];
    await ipBatch(host, lines, netns);
    const made = {
      hostEnd: await seen(work, name),
      guestEnd: await seen(work, attachment.ifname, netns),
      netns,
      addresses,
      network,
    };
    return newResult(config.cniVersion, made);
  } catch (cause) {
    await client.detach(name).catch(() => undefined);
    await deleteLink(host, name).catch(() => undefined);
    throw cause;
  }
}

/** Whose other end is the container's interface: the kernel says so; the order of prevResult does not. */
async function hostEndOf(work: Work, netns: string): Promise<LinkView> {
  const inside = await seen(work, work.attachment.ifname, netns);
  const links = await listLinks(work.host);
  const outside = links.find(
    ({ ifindex, peer, kind }) => kind === "veth" && ifindex === inside.peer && peer === inside.ifindex,
  );
  if (outside !== undefined) return outside;
  throw new GuardError(
    "PORT_MISSING",
    `'${work.attachment.ifname}' of the container has no other end on this host: only veth pairs can be guarded`,
    { fields: { port: work.attachment.ifname } },
  );
}

async function addChained(work: Work, guest: string, netns: string, prevResult: Fields): Promise<Answer> {
  const { host, config, attachment, client } = work;
  const index = interfaceIndex(prevResult, attachment);
  if (index < 0)
    return fault(
      work,
      cniCodes.config,
      `prevResult has no interface '${attachment.ifname}' in a sandbox: put vifguard behind the plugin that makes it`,
    );
  const outside = await hostEndOf(work, netns);
  try {
    await ip(host, ["link", "set", "dev", outside.name, "alias", aliasOf("chained", config, attachment)]);
    const port = await attach(work, outside.name, guest);
    const refused = refusedWish(work, port) ?? foreignAddress(prevResult, index, port);
    if (refused !== undefined) throw new GuardError("CONFLICT", refused);
    const network = await networkOf(work, port);
    // The port is the bridge's now; an address on it (ptp gives it the gateway's) would make the host answer for it.
    await ip(host, ["address", "flush", "dev", outside.name]);
    const addresses = addressesOfPort(port, network);
    const given = addressesAt(prevResult, index).length > 0;
    const lines = [
      `link set dev ${attachment.ifname} address ${port.mac}`,
      `link set dev ${attachment.ifname} up`,
      ...(given ? [] : addressLines(attachment.ifname, addresses)),
    ];
    await ipBatch(host, lines, netns);
    const made = { hostEnd: outside, guestEnd: await seen(work, attachment.ifname, netns), netns, addresses, network };
    return chainedResult(config, prevResult, index, made);
  } catch (cause) {
    await client.detach(outside.name).catch(() => undefined);
    await ip(host, ["link", "set", "dev", outside.name, "down"]).catch(() => undefined);
    throw cause;
  }
}

function foreignAddress(prevResult: Fields, index: number, port: PortView): string | undefined {
  const own = [...port.addresses4, ...port.addresses6];
  const foreign = addressesAt(prevResult, index).find((address) => !own.includes(address.split("/")[0] ?? ""));
  if (foreign === undefined) return undefined;
  return `the plugin before gave ${foreign}; guest '${port.guest}' NIC ${port.nic} has ${own.join(", ")}: leave its 'ipam' empty, or let it give that address`;
}

async function add(work: Work): Promise<Answer> {
  const guest = guestOf(work);
  if (typeof guest !== "string") return guest;
  const stop = await obstacle(work, guest);
  if (stop !== undefined) return stop;
  const { netns = "", config } = work;
  return config.prevResult === undefined
    ? addFirst(work, guest, netns)
    : addChained(work, guest, netns, config.prevResult);
}

/** Also without an agent: the container must be removable, and what is removed or down is shut. */
async function release({ host, client }: Work, link: LinkView, maker: Maker): Promise<void> {
  const left = await client.detach(link.name).then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (maker === "own") await deleteLink(host, link.name);
  else if (left !== undefined) await ip(host, ["link", "set", "dev", link.name, "down"]);
  if (left !== undefined && !(left instanceof GuardError && left.code === "AGENT_UNREACHABLE")) throw left;
}

async function del(work: Work): Promise<Answer> {
  for (const link of await listLinks(work.host)) {
    const maker = makerOf(link, work.config, work.attachment);
    if (maker !== undefined) await release(work, link, maker);
  }
  return undefined;
}

/** All of this network that the runtime does not know any more. One that cannot be removed does not keep the others. */
async function collect(work: Work): Promise<Answer> {
  const { config } = work;
  const failures: string[] = [];
  for (const link of await listLinks(work.host)) {
    const [, maker, network] = /^vifguard-cni=(own|chained) (\S+) \S+ \S+$/.exec(link.alias) ?? [];
    if (network !== config.network || config.valid.some((known) => makerOf(link, config, known) !== undefined))
      continue;
    try {
      await release(work, link, maker === "own" ? "own" : "chained");
    } catch (cause) {
      failures.push(cause instanceof Error ? cause.message : String(cause));
    }
  }
  return failures.length === 0 ? undefined : fault(work, cniCodes.io, failures.join("; "));
}

async function check(work: Work): Promise<Answer> {
  const { config, attachment, netns = "", client, host } = work;
  const refuse = (msg: string): CniFault => fault(work, cniCodes.refused, msg);
  if (config.prevResult === undefined) return fault(work, cniCodes.config, "prevResult is missing for CHECK");
  if (!(await host.exists(netns))) return fault(work, cniCodes.container, `CNI_NETNS '${netns}' does not exist`);
  const links = await listLinks(host);
  const outside = links.find((link) => makerOf(link, config, attachment) !== undefined);
  if (outside === undefined) return refuse(`no port of container '${attachment.container}' is on this host`);
  const port = (await client.status()).ports.find((view) => view.port === outside.name);
  if (port?.state !== "applied")
    return refuse(
      `port '${outside.name}' is ${port === undefined ? "not attached" : `${port.state}: ${port.why ?? ""}`}`,
    );
  const inside = await findLink(host, attachment.ifname, netns);
  if (inside === undefined) return refuse(`'${attachment.ifname}' is gone from the container`);
  if (inside.mac !== port.mac) return refuse(`'${attachment.ifname}' has MAC ${inside.mac}, not ${port.mac}`);
  if (!inside.up || !outside.up) return refuse(`'${inside.up ? outside.name : attachment.ifname}' is down`);
  const held = (await addressesOf(host, attachment.ifname, netns)).map(({ address }) => address);
  const wanted = addressesAt(config.prevResult, interfaceIndex(config.prevResult, attachment));
  const missing = wanted.filter((address) => !held.includes(address));
  return missing.length === 0 ? undefined : refuse(`'${attachment.ifname}' has lost ${missing.join(", ")}`);
}

/** Ready means: the agent answers, and nothing keeps it from attaching. */
async function status(work: Work): Promise<Answer> {
  const { portPrefixes, conditions } = await work.client.status();
  if (!isGuarded(portName(work), portPrefixes))
    return fault(work, cniCodes.unavailable, `portPrefix '${work.config.portPrefix}' is not guarded by the agent`);
  const stuck = conditions.filter(({ code }) => code === "STORE_FAILED" || code === "RULES_REFUSED");
  return stuck.length === 0 ? undefined : fault(work, cniCodes.unavailable, stuck.map(({ text }) => text).join("; "));
}

const commands = { ADD: add, DEL: del, CHECK: check, GC: collect, STATUS: status } as const;

const codeOf: Readonly<Partial<Record<ErrorCode, number>>> = {
  AGENT_UNREACHABLE: cniCodes.later,
  STORE_UNAVAILABLE: cniCodes.later,
  NOT_FOUND: cniCodes.config,
  PORT_NAME: cniCodes.config,
  CONFLICT: cniCodes.config,
  BRIDGE_MISSING: cniCodes.config,
  COMMAND_FAILED: cniCodes.io,
};

function faultOf(call: CniCall, cause: unknown): CniFault {
  const error = cause instanceof GuardError ? cause : new GuardError("INTERNAL", String(cause));
  const isDown = call.command === "STATUS" && error.code === "AGENT_UNREACHABLE";
  const code = isDown ? cniCodes.unavailable : (codeOf[error.code] ?? cniCodes.refused);
  return { ...fault(call, code, error.message), details: `${error.hint} (${error.code})` };
}

async function serve(call: CniCall, { host, connect }: CniParts): Promise<Answer> {
  try {
    const work: Work = { ...call, host, client: connect(call.config.socket) };
    return await commands[call.command](work);
  } catch (cause) {
    return faultOf(call, cause);
  }
}

const print = (value: Fields): string => `${JSON.stringify(value, undefined, 2)}\n`;

function refusal({ cniVersion, code, msg, details }: CniFault): CniReply {
  return { status: 1, stdout: print({ cniVersion, code, msg, ...(details === undefined ? {} : { details }) }) };
}

/** What the runtime reads on standard output, and the exit status. */
export async function answerCni(
  env: Readonly<Record<string, string | undefined>>,
  stdin: string,
  parts: CniParts,
): Promise<CniReply> {
  const call = parseCall(env, stdin);
  if (call.kind === "fault") return refusal(call);
  if (call.kind === "version") {
    const { cniVersion } = call;
    return { status: 0, stdout: print({ cniVersion: cniVersion || NEWEST, supportedVersions: cniVersions }) };
  }
  const answer = await serve(call, parts);
  if (answer !== undefined && isFault(answer)) return refusal(answer);
  return { status: 0, stdout: answer === undefined ? "" : print(answer) };
}
