/** Flows of real programs between boxes of a lab: servers, questions, and streams of which is asked at any time how far they have come. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import type { Running } from "../../src/lab/exec.ts";
import { patience } from "../../src/lab/patience.ts";
import type { Lab } from "../../src/lab/raise.ts";
import type { Box } from "../../src/lab/topology.ts";
import { eventually } from "./guarded-lab.ts";

/** What has come so far, in octets. */
export interface Stream {
  count(): Promise<number>;
  stop(): Promise<unknown>;
}

export interface Flows {
  /** Says what it is sent, back, for as long as the connection stands. */
  serve(box: Box, port: number): Promise<Running>;
  /** Says a line every 20 ms, and hears nothing. */
  feed(box: Box, port: number): Promise<Running>;
  /** Writes down what datagrams it is sent. */
  collect(box: Box, port: number): Promise<Stream>;
  reaches(box: Box, address: string, port: number): Promise<boolean>;
  /** An echo of a line every 20 ms. Returns when it runs. */
  stream(box: Box, address: string, port: number): Promise<Stream>;
  /** Only listens to what `feed` says. Returns when it runs. */
  download(box: Box, address: string, port: number): Promise<Stream>;
  /** One datagram of so many octets. */
  datagram(box: Box, address: string, port: number, octets: number): Promise<void>;
  /** Lines of the host's connections that were opened to the address. */
  tracked(to: string, ...more: readonly string[]): Promise<readonly string[]>;
}

const over = (protocol: "TCP" | "UDP", address: string, port: number): string =>
  address.includes(":") ? `${protocol}6:[${address}]:${port}` : `${protocol}4:${address}:${port}`;
const EVERY_20_MS = "while echo x; do sleep 0.02; done";

export function flowsIn(lab: Lab): Flows {
  let files = 0;
  const newFile = (what: string): string => {
    files += 1;
    return `${lab.directory}/${what}-${files}.txt`;
  };
  const listen = (box: Box, port: number, program: string): Promise<Running> =>
    lab.start(box, ["socat", `TCP6-LISTEN:${port},fork,reuseaddr,ipv6only=0`, program], `serve-${box}-${port}.log`);

  function written(box: Box, file: string, running: Running): Stream {
    const count = async (): Promise<number> =>
      Number((await lab.exec(box, ["sh", "-c", 'cat "$1" | wc -c', "sh", file])).stdout.trim() || "0");
    return { count, stop: () => running.stop("SIGKILL") };
  }

  async function underWay(box: Box, [script, address, port]: readonly [string, string, number]): Promise<Stream> {
    const file = newFile("stream");
    const argv = ["sh", "-c", script, "sh", over("TCP", address, port), file];
    const stream = written(box, file, await lab.start(box, argv, "stream.log"));
    if (await eventually(async () => (await stream.count()) > 10)) return stream;
    throw new Error(`no stream from ${box} to ${address} ${port}`);
  }

  return {
    serve: (box, port) => listen(box, port, "EXEC:cat"),
    feed: (box, port) => listen(box, port, `SYSTEM:${EVERY_20_MS}`),
    collect: async (box, port) => {
      const file = newFile("datagrams");
      const argv = ["socat", "-u", "-b", "65536", `UDP6-RECV:${port},ipv6only=0`, `OPEN:${file},creat,append`];
      return written(box, file, await lab.start(box, argv, "collect.log"));
    },
    reaches: async (box, address, port) => {
      const script = 'echo hello | timeout 2 socat -t 1 - "$1,connect-timeout=1"';
      const argv = ["sh", "-c", script, "sh", over("TCP", address, port)];
      return (await lab.exec(box, argv, { timeoutMs: patience(8000) })).stdout.includes("hello");
    },
    stream: (box, address, port) => underWay(box, [`${EVERY_20_MS} | socat -t 1 - "$1" > "$2"`, address, port]),
    download: (box, address, port) => underWay(box, ['socat -u "$1" - > "$2"', address, port]),
    datagram: async (box, address, port, octets) => {
      const script = 'head -c "$2" /dev/zero | socat -u -b 65536 - "$1"';
      await lab.must(box, ["sh", "-c", script, "sh", over("UDP", address, port), String(octets)]);
    },
    tracked: async (to, ...more) => {
      const family = to.includes(":") ? "ipv6" : "ipv4";
      const { stdout } = await lab.exec("host", ["conntrack", "-L", "-f", family, "-d", to, ...more]);
      return stdout.split("\n").filter((line) => line !== "");
    },
  };
}

const counts = (streams: readonly Stream[]): Promise<readonly number[]> =>
  Promise.all(streams.map(({ count }) => count()));

/** Every one of them comes further than it was. */
export async function goOn(streams: readonly Stream[], what: string): Promise<void> {
  const before = await counts(streams);
  const further = async (): Promise<boolean> =>
    (await counts(streams)).every((count, n) => count > (before[n] ?? 0) + 10);
  expect(await eventually(further), `${what}: ${before}, then ${await counts(streams)}`).toBe(true);
}

/** None of them comes further, after what was on its way has arrived. */
export async function areCut(streams: readonly Stream[], what: string): Promise<void> {
  const still = async (): Promise<boolean> => {
    const before = await counts(streams);
    await sleep(patience(500));
    return String(await counts(streams)) === String(before);
  };
  expect(await eventually(still), what).toBe(true);
}
