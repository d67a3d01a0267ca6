/** Three members of etcd, each in its own box: killed, suspended, slowed down, filled. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Running } from "../../src/lab/exec.ts";
import type { Lab } from "../../src/lab/raise.ts";
import type { Box } from "../../src/lab/topology.ts";
import { ETCD_LIMITS } from "./etcd.ts";
import { managementOf } from "./fault-cuts.ts";
import { eventually } from "./guarded-lab.ts";

export interface Member {
  readonly box: Box;
  readonly url: string;
  start(): Promise<void>;
  /** As hard as a power cut. */
  kill(): Promise<void>;
  signal(signal: "SIGSTOP" | "SIGCONT"): void;
  /** Each write to its disk takes so much longer, until the answer is called. */
  slowDisk(milliseconds: number): Promise<() => Promise<void>>;
}

export interface Members {
  readonly all: readonly Member[];
  readonly endpoints: readonly string[];
  /** `etcdctl` from the box of the member, asking it alone. */
  ctlAt(member: Member, ...argv: string[]): Promise<string>;
  /** `etcdctl` from beside, asking whoever answers. */
  ctl(...argv: string[]): Promise<string>;
  leader(): Promise<Member>;
  others(member: Member): readonly Member[];
  ready(): Promise<void>;
  /** Whoever was suspended goes on. */
  resume(): void;
}

/** Small, so that it can be filled in seconds; what the tests write is a tenth of it. */
export const QUOTA = 16 * 1024 * 1024;
const TIMES = ["--heartbeat-interval", "50", "--election-timeout", "500", "--log-level", "warn"];

function memberAt(lab: Lab, box: Box, cluster: string): Member {
  const at = managementOf(lab, box);
  const [url, peer] = [`http://${at}:2379`, `http://${at}:2380`];
  let running: Running | undefined;
  const signal = (name: NodeJS.Signals): void => {
    if (running !== undefined) process.kill(running.pid, name);
  };
  return {
    box,
    url,
    signal,
    start: async () => {
      const peers = ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer];
      const clients = ["--listen-client-urls", url, "--advertise-client-urls", url];
      const where = ["--name", box, "--data-dir", `${lab.directory}/${box}`, "--initial-cluster", cluster];
      const size = ["--quota-backend-bytes", String(QUOTA)];
      const argv = ["etcd", ...where, ...peers, ...clients, ...TIMES, ...ETCD_LIMITS, ...size];
      running = await lab.start(box, argv, `${box}.log`);
    },
    kill: async () => {
      const { ended } = running ?? {};
      signal("SIGKILL");
      running = undefined;
      await ended;
    },
    slowDisk: async (milliseconds) => {
      if (running === undefined) return async () => undefined;
      const what = `fsync,fdatasync:delay_enter=${milliseconds * 1000}`;
      const traced = ["-f", "-q", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", `inject=${what}`];
      const strace = await lab.start(box, ["strace", ...traced, "-p", String(running.pid)], `${box}-strace.log`);
      const early = await Promise.race([strace.ended, sleep(300)]);
      if (early !== undefined) throw new Error(`strace does not run: status ${early}`);
      return async () => void (await strace.stop("SIGINT"));
    },
  };
}

/** The fields of `endpoint status -w json` that say who leads. */
function isLeading(json: string): boolean {
  const [, own] = /"member_id":(\d+)/.exec(json) ?? [];
  const [, leader] = /"leader":(\d+)/.exec(json) ?? [];
  return own !== undefined && own === leader;
}

export async function startMembers(lab: Lab): Promise<Members> {
  const boxes = lab.topology.boxes.filter((box) => box.startsWith("etcd"));
  const cluster = boxes.map((box) => `${box}=http://${managementOf(lab, box)}:2380`).join(",");
  const all = boxes.map((box) => memberAt(lab, box, cluster));
  const endpoints = all.map(({ url }) => url);
  const run = (box: Box, urls: readonly string[], argv: readonly string[]): Promise<string> =>
    lab.must(box, ["env", "ETCDCTL_API=3", "etcdctl", "--endpoints", urls.join(","), "--command-timeout=3s", ...argv]);
  const ctl = (...argv: string[]): Promise<string> => run("gw", endpoints, argv);
  const ctlAt = (member: Member, ...argv: string[]): Promise<string> => run(member.box, [member.url], argv);
  const ready = async (): Promise<void> => {
    const isUp = (): Promise<boolean> =>
      ctl("get", "ready").then(
        () => true,
        () => false,
      );
    if (!(await eventually(isUp, 20_000))) throw new Error("etcd does not come up");
  };
  for (const member of all) await member.start();
  await ready();
  return {
    all,
    endpoints,
    ctl,
    ctlAt,
    ready,
    leader: async () => {
      for (const member of all) {
        const json = await ctlAt(member, "endpoint", "status", "-w", "json").catch(() => "");
        if (isLeading(json)) return member;
      }
      throw new Error("etcd has no leader");
    },
    others: (member) => all.filter((one) => one !== member),
    resume: () => {
      for (const member of all) member.signal("SIGCONT");
    },
  };
}
