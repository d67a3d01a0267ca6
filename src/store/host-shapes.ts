/** Shapes of the records of hosts. */
import type { AliveRecord, HostRecord } from "../model/hosts.ts";
import { fields, optional, type Shape, shape } from "./shape.ts";

const anyText: Shape<string> = shape("text", (value) => typeof value === "string");
const moment: Shape<number> = shape("a time", (value) => Number.isFinite(value));
const identity = { instance: anyText, machine: anyText, epoch: anyText, version: anyText, since: moment } as const;

export const hostRecord = fields<HostRecord>({ ...identity, draining: optional(moment) });
export const aliveRecord = fields<AliveRecord>({ ...identity, run: anyText, address: optional(anyText) });
