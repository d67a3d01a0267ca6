/** A guest that lies thousands of times a second while a LAN says to it what is not its own; and whether any of it got anywhere. */
import { expect } from "vitest";
import { type AttackContext, arpRequest, udpTo } from "../../src/lab/attack.ts";
import { attacks } from "../../src/lab/attacks.ts";
import type { Box } from "../../src/lab/topology.ts";
import { sendFrames } from "../../src/lab/trial.ts";
import { parseIpv4 } from "../../src/model/ipv4.ts";
import { BROADCAST_MAC } from "../../src/model/mac.ts";
import { type Barrage, startBarrage, type Watch, watchBoxes } from "./barrage.ts";
import { eventually, type GuardedLab, guestAt } from "./guarded-lab.ts";

/** Lies a second. */
export const PER_SECOND = 3_000;
/** Few, because everybody on the LAN hears them and the sniffers write them all down. */
const ANSWERS_PER_SECOND = 100;
/** Where a lie could get to. */
const LAN: readonly Box[] = ["gw", "neighbour", "host", "guest2"];

let serial = 0;

/** The first guest lies, the second is who it pretends to be. */
export function contextOf({ lab, guests }: GuardedLab): AttackContext {
  const { gateway, neighbour, host, prefix4 } = lab.topology;
  serial += 1;
  return { self: guestAt(guests, 0), victim: guestAt(guests, 1), gateway, neighbour, host, prefix4, serial };
}

/** Every lie of the table; what the host's responder takes is none. */
const lies = (guarded: GuardedLab): readonly Uint8Array[] =>
  attacks.filter(({ reason }) => reason !== undefined).flatMap((attack) => attack.build(contextOf(guarded)));

/** What the LAN says that is not for the liar, or for nobody. */
function foreign(guarded: GuardedLab): readonly Uint8Array[] {
  const plain = contextOf(guarded);
  const { self: liar, victim: other, neighbour } = plain;
  const context = { ...plain, self: neighbour, neighbour: liar };
  const everybody = parseIpv4("255.255.255.255") ?? liar.address;
  return [
    udpTo(context, { to: other.address }),
    udpTo(context, { toMac: BROADCAST_MAC, to: everybody }),
    arpRequest(context, neighbour, other.address),
    arpRequest(context, { mac: neighbour.mac, address: other.address }, liar.address),
  ];
}

/** Announced to everybody: shows where the lies would have been seen. */
export function truthOf(guarded: GuardedLab): Uint8Array {
  const context = contextOf(guarded);
  return arpRequest(context, context.self, context.self.address);
}

export interface Siege {
  readonly barrage: Barrage;
  readonly watch: Watch;
  /** The lies, and what the LAN says beside the point. */
  readonly told: readonly Uint8Array[];
  readonly strange: readonly Uint8Array[];
  stop(): Promise<void>;
}

export async function laySiege(guarded: GuardedLab): Promise<Siege> {
  const { lab, guests } = guarded;
  const [told, strange] = [lies(guarded), foreign(guarded)];
  const watch = await watchBoxes(lab, LAN);
  const barrage = await startBarrage(lab, guestAt(guests, 0).box, told, PER_SECOND);
  const answer = await startBarrage(lab, "neighbour", strange, ANSWERS_PER_SECOND);
  await barrage.more(PER_SECOND / 4);
  await answer.more(strange.length);
  const stop = async (): Promise<void> => {
    for (const part of [answer, barrage, watch]) await part.stop();
  };
  return { barrage, watch, told, strange, stop };
}

/** Nothing leaked so far; and everybody would have seen it, because everybody sees the truth. */
export async function expectNoLeak(guarded: GuardedLab, { watch, told }: Siege): Promise<void> {
  const frame = truthOf(guarded);
  const isSeen = async (): Promise<boolean> => {
    await sendFrames(guarded.lab, guestAt(guarded.guests, 0).box, [frame]);
    return watch.arrivedAt(frame).length === LAN.length;
  };
  expect(await eventually(isSeen), `control: the truth, seen only at ${watch.arrivedAt(frame)}`).toBe(true);
  expect(watch.leaks(told)).toEqual([]);
}
