/**
 * A NIC with two ports of one host: the port, and a stand-in that serves while nobody is connected there (an emulated card, until the guest's own driver runs).
 * Which of them is open is what the claim says, as for any two ports (invariant I18); here is what binds them.
 */
import { keys } from "../model/keys.ts";
import type { Attachment } from "../model/resources.ts";
import { holdOf, nextFence, taken } from "../plan/nic-claims.ts";
import type { Transaction } from "../store/store.ts";
import { type Core, claimChange, claimOf } from "./core.ts";
import { isLive, type PortState } from "./ports.ts";

export interface Pair {
  readonly port: Attachment;
  readonly standIn: Attachment;
}

/** The pair that a port is half of. */
export function pairOf({ mirror, ports }: Core, { port: name }: Pick<Attachment, "port">): Pair | undefined {
  const standIn = mirror.attachments.get(ports.standInOf(name)?.attachment.port ?? name);
  const port = standIn?.standsInFor === undefined ? undefined : mirror.attachments.get(standIn.standsInFor);
  if (standIn === undefined || port === undefined) return undefined;
  return port.guest === standIn.guest && port.nic === standIn.nic ? { port, standIn } : undefined;
}

/** Which of the two has the NIC; undefined when it is elsewhere, or on its way. */
export function holderOf(core: Core, { port, standIn }: Pair): Attachment | undefined {
  const claim = claimOf(core, port);
  return [port, standIn].find((half) => holdOf(claim, core.parts.host, half) === "ours");
}

/** Which of the two should have it. */
export const dueOf = ({ parts }: Core, { port, standIn }: Pair): Attachment =>
  parts.links.byIndex(port.ifindex)?.carrier === true ? port : standIn;

/**
 * What gives the NIC of a stand-in that ends to its port, in the transaction that ends it: nobody else can have it in between, and a crash leaves no NIC without a
 * port.
 */
export function inheritance(core: Core, standIn: Attachment, knows: readonly string[] = []): Transaction | undefined {
  const { mirror, parts } = core;
  const port = standIn.standsInFor === undefined ? undefined : mirror.attachments.get(standIn.standsInFor);
  const claim = claimOf(core, standIn);
  if (port === undefined || !isLive(parts, port) || holdOf(claim, parts.host, standIn) !== "ours") return undefined;
  const next = { ...taken(claim, { host: parts.host, port: port.port }), ...(knows.length === 0 ? {} : { knows }) };
  const { expect, writes } = claimChange(core, standIn, next);
  const { prepared: _, ...heir } = port;
  const key = keys.attachment(parts.host, port.port);
  return {
    expect,
    writes: [...writes, { op: "put", key, value: { ...heir, fence: nextFence(claim) } }],
  };
}

interface PairedView {
  readonly state: PortState;
  readonly why?: string;
}

/** What an operator is to see of a port that is half of a pair: which of the two serves, and why. */
export function pairedView(core: Core, state: PortState): PairedView {
  const pair = pairOf(core, state.attachment);
  const holder = pair === undefined ? undefined : holderOf(core, pair);
  if (pair === undefined || holder === undefined) return { state };
  const { port, standIn } = pair;
  const isPort = state.attachment.port === port.port;
  if (holder.port === state.attachment.port)
    return isPort || state.state !== "applied"
      ? { state }
      : { state, why: `stands in for port '${port.port}', where the guest is not connected` };
  if (state.state !== "moved") return { state };
  const why = isPort
    ? `port '${standIn.port}' stands in until the guest is connected here`
    : `stands by for port '${port.port}', where the guest is connected`;
  return { state: { ...state, state: "standby" }, why };
}

/** It has done what can be asked of it: the other of the two serves. */
export const isStandby = (core: Core, state: PortState): boolean => pairedView(core, state).state.state === "standby";
