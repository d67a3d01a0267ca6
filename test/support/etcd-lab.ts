/** A lab of two hosts with one store: three members of etcd in the gateway's box, an agent on each host. */
import { readFile, rm } from "node:fs/promises";
import { type Client, connect } from "../../src/api/client.ts";
import type { Running } from "../../src/lab/exec.ts";
import { attachGuest, startAgent } from "../../src/lab/guarded.ts";
import { type Lab, raiseLab } from "../../src/lab/raise.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import type { GuestBox, HostBox } from "../../src/lab/topology.ts";
import { ETCD_LIMITS } from "./etcd.ts";
import { addressByHand, applyText, eventually, type SiteExtras, siteText } from "./guarded-lab.ts";

export interface EtcdHost {
  readonly box: HostBox;
  readonly agent: LabAgent;
  readonly client: Client;
}

export interface EtcdLab {
  readonly lab: Lab;
  readonly hosts: readonly EtcdHost[];
  /** Attached at their hosts, addressed, with the MACs they were given. */
  readonly guests: readonly GuestBox[];
  hostOf(guest: GuestBox): EtcdHost;
  /** `etcdctl` at the first member. */
  ctl(...argv: string[]): Promise<string>;
  /** All members at once, as hard as a power cut. */
  killEtcd(): Promise<void>;
  startEtcd(): Promise<void>;
  /** While no member runs: each gets what `etcdctl snapshot save` kept there. */
  restoreEtcd(file: string): Promise<void>;
  /** @param more options of its command line */
  startAgent(box: HostBox, more?: readonly string[]): Promise<void>;
  killAgent(box: HostBox): Promise<void>;
}

const MEMBERS = [0, 1, 2] as const;

/** Those of a box whose command line has the word. */
async function pidsOf(lab: Lab, box: string, word: string): Promise<readonly number[]> {
  const { stdout } = await lab.exec(box, ["ip", "netns", "pids", lab.netns(box)]);
  const found: number[] = [];
  for (const pid of stdout
    .trim()
    .split(/\s+/)
    .filter((text) => text !== "")) {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (command.includes(word)) found.push(Number(pid));
  }
  return found;
}

async function killAll(lab: Lab, box: string, word: string): Promise<void> {
  for (const pid of await pidsOf(lab, box, word)) process.kill(pid, "SIGKILL");
  if (!(await eventually(async () => (await pidsOf(lab, box, word)).length === 0)))
    throw new Error(`${word} in ${box} does not end`);
}

/** Nothing is left when it fails. */
export async function raiseEtcdLab(name: string, guestCount: number, extras: SiteExtras = {}): Promise<EtcdLab> {
  const lab = await raiseLab({ name, guests: guestCount, hosts: 2, nic: "veth" });
  const at = lab.topology.gateway.address;
  const client = (n: number): string => `http://${at}:${2379 + n}`;
  const peer = (n: number): string => `http://127.0.0.1:${2479 + n}`;
  const cluster = MEMBERS.map((n) => `e${n}=${peer(n)}`).join(",");

  async function startMember(n: number): Promise<Running> {
    const urls = ["--listen-peer-urls", peer(n), "--initial-advertise-peer-urls", peer(n)];
    const clients = ["--listen-client-urls", client(n), "--advertise-client-urls", client(n)];
    const times = ["--heartbeat-interval", "50", "--election-timeout", "500", "--log-level", "warn"];
    const where = ["--name", `e${n}`, "--data-dir", `${lab.directory}/e${n}`, "--initial-cluster", cluster];
    return lab.start("gw", ["etcd", ...where, ...urls, ...clients, ...times, ...ETCD_LIMITS], `e${n}.log`);
  }
  const ctl = (...argv: string[]): Promise<string> =>
    lab.must("gw", ["env", "ETCDCTL_API=3", "etcdctl", "--endpoints", client(0), "--command-timeout=3s", ...argv]);
  async function startEtcd(): Promise<void> {
    for (const n of MEMBERS) await startMember(n);
    const isUp = (): Promise<boolean> =>
      ctl("get", "up").then(
        () => true,
        () => false,
      );
    if (!(await eventually(isUp, 20_000))) throw new Error("etcd does not come up");
  }
  const options = (box: HostBox): readonly string[] => [
    "--host",
    box,
    ...MEMBERS.flatMap((n) => ["--etcd", client(n)]),
  ];

  try {
    await startEtcd();
    const hosts: EtcdHost[] = [];
    for (const { box } of lab.topology.hosts) {
      const agent = await startAgent(lab, options(box), box);
      hosts.push({ box, agent, client: connect(agent.socket) });
    }
    const hostOf = ({ on }: GuestBox): EtcdHost => {
      const host = hosts.find(({ box }) => box === on);
      if (host === undefined) throw new TypeError(`no host ${on}`);
      return host;
    };
    const [first] = hosts;
    if (first === undefined) throw new TypeError("a fleet without hosts");
    await applyText(first, siteText(lab.topology, extras));
    const guests: GuestBox[] = [];
    for (const guest of lab.topology.guests) {
      const own = { ...guest, mac: await attachGuest(lab, hostOf(guest).agent, guest) };
      await addressByHand(lab, own);
      guests.push(own);
    }
    return {
      lab,
      hosts,
      guests,
      hostOf,
      ctl,
      startEtcd,
      restoreEtcd: async (file) => {
        for (const n of MEMBERS) {
          const directory = `${lab.directory}/e${n}`;
          await rm(directory, { recursive: true, force: true });
          const own = ["--name", `e${n}`, "--initial-advertise-peer-urls", peer(n), "--data-dir", directory];
          await ctl("snapshot", "restore", file, ...own, "--initial-cluster", cluster);
        }
      },
      killEtcd: () => killAll(lab, "gw", "etcd\0"),
      startAgent: async (box, more = []) => void (await startAgent(lab, [...options(box), ...more], box)),
      killAgent: (box) => killAll(lab, box, "main.js\0agent"),
    };
  } catch (cause) {
    await lab.down();
    throw cause;
  }
}
