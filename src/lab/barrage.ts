/**
 * Says the same frames again and again, steadily, until it is told to stop: what is open only for a moment is hit in that moment.
 * `ip netns exec vg-x-guest1 node dist/lab/barrage.js eth0 FILE 4000`: frames in hex, one per line of the file; so many a second, whatever becomes of the interface,
 * and how many the kernel took so far on standard output. Bounded: it ends by itself.
 */
import { readFileSync } from "node:fs";
import { argv, exit, stderr, stdout } from "node:process";
import { openFrames } from "../kernel/frames-netlink.ts";
import { parseHex } from "../packet/hex.ts";

const MAX_PER_SECOND = 20_000;
const MAX_SECONDS = 900;
const TICK_MS = 5;
const REPORT_MS = 100;

function refuse(text: string): never {
  stderr.write(`error: ${text}\n  usage: barrage.js INTERFACE FILE FRAMES_PER_SECOND\n`);
  exit(2);
}

function framesOf(file: string): readonly Uint8Array[] {
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
  return lines.map((line) => parseHex(line) ?? refuse(`not a frame in hex: '${line.slice(0, 60)}'`));
}

/** Interfaces go and come back under the same name; 0 while there is none. */
function ifindexOf(device: string): number {
  try {
    return Number(readFileSync(`/sys/class/net/${device}/ifindex`, "utf8"));
  } catch {
    return 0;
  }
}

const [device, file, perSecond] = argv.slice(2);
if (device === undefined || file === undefined || !/^[\w.-]{1,15}$/.test(device))
  refuse("no interface or no file named");
const rate = Number(perSecond);
if (!(rate >= 1 && rate <= MAX_PER_SECOND)) refuse(`frames per second: 1 to ${MAX_PER_SECOND}`);
const list = framesOf(file);
if (list.length === 0) refuse("no frames");
const frames = openFrames();
const begun = performance.now();
let said = 0;
let taken = 0;
let reported = begun;

/** Catches up at most a tenth of a second: a stopped machine is not followed by a flood. */
function due(now: number): number {
  const wanted = Math.floor(((now - begun) / 1000) * rate) - said;
  const most = Math.ceil(rate / 10);
  if (wanted > most) said += wanted - most;
  return Math.min(wanted, most);
}

function tick(): void {
  const now = performance.now();
  if (now - begun > MAX_SECONDS * 1000) exit(0);
  const ifindex = ifindexOf(device ?? "");
  const count = due(now);
  const next = Array.from({ length: count }, (_, i) => list[(said + i) % list.length] ?? new Uint8Array(0));
  said += count;
  if (ifindex > 0) taken += frames.send(next.map((bytes) => ({ ifindex, bytes })));
  if (now - reported < REPORT_MS) return;
  reported = now;
  stdout.write(`${taken}\n`);
}

stdout.write("0\n");
setInterval(tick, TICK_MS);
