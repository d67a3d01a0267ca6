/**
 * Puts given frames on an interface of the namespace it runs in: `ip netns exec vg-x-guest1 node dist/lab/send.js eth0`,
 * frames in hex, one per line on standard input or as arguments. Bounded: it is for single lies, not for floods.
 */
import { readFileSync } from "node:fs";
import { argv, exit, stderr, stdin, stdout } from "node:process";
import { openFrames } from "../kernel/frames-netlink.ts";
import { parseInterfaceName } from "../model/names.ts";
import { parseHex } from "./hex.ts";

const MAX_FRAMES = 4_096;
const MIN_BYTES = 14;
const MAX_BYTES = 9_018;

function refuse(text: string): never {
  stderr.write(`error: ${text}\n  usage: send.js INTERFACE [HEX…]  (or one frame in hex per line on standard input)\n`);
  exit(2);
}

function frameOf(text: string): Uint8Array {
  const bytes = parseHex(text);
  if (bytes === undefined || bytes.length < MIN_BYTES || bytes.length > MAX_BYTES)
    refuse(`not a frame of ${MIN_BYTES} to ${MAX_BYTES} bytes in hex: '${text.slice(0, 60)}'`);
  return bytes;
}

function ifindexOf(device: string): number {
  const name = parseInterfaceName(device);
  if (name === undefined) refuse(`not an interface name: '${device}'`);
  try {
    // 'ip netns exec' mounts the /sys of the namespace.
    return Number(readFileSync(`/sys/class/net/${name}/ifindex`, "utf8"));
  } catch {
    return refuse(`no interface '${name}' here`);
  }
}

/** Not readFileSync: a parent's socket pair does not block, and a long list comes in parts. */
async function standardInput(): Promise<string> {
  stdin.setEncoding("utf8");
  let text = "";
  for await (const part of stdin) text += part;
  return text;
}

const [device, ...words] = argv.slice(2);
if (device === undefined) refuse("no interface named");
const lines = words.length > 0 ? words : (await standardInput()).split("\n");
const bytes = lines.filter((line) => line.trim() !== "").map(frameOf);
if (bytes.length > MAX_FRAMES) refuse(`${bytes.length} frames are more than ${MAX_FRAMES}`);
const ifindex = ifindexOf(device);
const frames = openFrames();
const sent = frames.send(bytes.map((frame) => ({ ifindex, bytes: frame })));
frames.close();
stdout.write(`${sent}\n`);
exit(sent === bytes.length ? 0 : 1);
