/** A service that a security group allows, one that it does not, and a flow that is cut when its rule is taken back. */
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError } from "../model/errors.ts";
import type { Running } from "./exec.ts";
import { offerPorts } from "./guarded.ts";
import { patience } from "./patience.ts";
import type { Lab } from "./raise.ts";
import type { LabAgent } from "./state.ts";
import type { GuestBox } from "./topology.ts";

const OFFERED = 8080;
const KEPT_BACK = 9090;

/** Says back what it is sent, on the port. */
const serve = (lab: Lab, box: GuestBox, port: number): Promise<Running> =>
  lab.start(box.box, ["socat", `TCP4-LISTEN:${port},fork,reuseaddr`, "EXEC:cat"], `echo-${port}.log`);

async function reaches(lab: Lab, from: GuestBox, to: GuestBox, port: number): Promise<boolean> {
  const script = 'echo hello | timeout 2 socat -t 1 - "TCP4:$1:$2,connect-timeout=1"';
  const { stdout } = await lab.exec(from.box, ["sh", "-c", script, "sh", to.address, String(port)]);
  return stdout.includes("hello");
}

/** Servers take a moment to listen. */
async function reachesSoon(lab: Lab, from: GuestBox, to: GuestBox, port: number): Promise<boolean> {
  const deadline = performance.now() + patience(5000);
  while (performance.now() < deadline) if (await reaches(lab, from, to, port)) return true;
  return false;
}

interface Stream {
  /** Octets that came back so far. */
  length(): Promise<number>;
  stop(): Promise<unknown>;
}

/** A line every 20 ms over one connection. */
async function stream(lab: Lab, from: GuestBox, to: GuestBox, port: number): Promise<Stream> {
  const file = `${lab.directory}/stream.txt`;
  const script = 'while echo x; do sleep 0.02; done | socat -t 1 - "TCP4:$1:$2" > "$3"';
  const running = await lab.start(from.box, ["sh", "-c", script, "sh", to.address, String(port), file], "stream.log");
  return {
    // The file is there once the connection is.
    length: async () => Number((await lab.exec(from.box, ["sh", "-c", 'cat "$1" | wc -c', "sh", file])).stdout.trim()),
    stop: () => running.stop("SIGKILL"),
  };
}

async function grows({ length }: Stream, milliseconds: number): Promise<boolean> {
  const before = await length();
  await sleep(milliseconds);
  return (await length()) > before;
}

async function begins({ length }: Stream): Promise<boolean> {
  const deadline = performance.now() + patience(5000);
  while (performance.now() < deadline && (await length()) === 0) await sleep(50);
  return (await length()) > 0;
}

/** @returns whether the groups held @throws GuardError when the servers cannot be reached at all */
export async function playServices(
  lab: Lab,
  agent: LabAgent,
  [client, server]: readonly [GuestBox, GuestBox],
  print: (line: string) => void,
): Promise<boolean> {
  for (const port of [OFFERED, KEPT_BACK]) {
    await serve(lab, server, port);
    if (!(await reachesSoon(lab, client, server, port)))
      throw new GuardError("COMMAND_FAILED", `${client.box} does not reach port ${port} of ${server.box}`);
  }
  print(
    `${server.box} serves TCP ${OFFERED} and ${KEPT_BACK}; its group lets everything in, and ${client.box} reaches both`,
  );
  await offerPorts(lab, agent, server, [OFFERED]);
  const [offered, keptBack] = [
    await reaches(lab, client, server, OFFERED),
    await reaches(lab, client, server, KEPT_BACK),
  ];
  print(
    `${server.box} gets a group that lets in TCP ${OFFERED} only: ${OFFERED} ${word(offered)}, ${KEPT_BACK} ${word(keptBack)}`,
  );
  const running = await stream(lab, client, server, OFFERED);
  const ran = await begins(running);
  await offerPorts(lab, agent, server, []);
  const goesOn = await grows(running, patience(500));
  await running.stop();
  print(
    `the rule is taken back under a running connection: it ${ran ? "ran" : "DID NOT RUN"} before and is ${goesOn ? "NOT CUT" : "cut"}`,
  );
  return offered && !keptBack && ran && !goesOn;
}

const word = (reached: boolean): string => (reached ? "is reached" : "is not");
