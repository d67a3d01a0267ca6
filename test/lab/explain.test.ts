/**
 * `explain` and the kernel say the same (contract section 6): the very frame a phrase stands for is sent, and arrives, or is counted under the line
 * that was named. What a site file alone says is the same but for what only a kernel can know.
 */
import { execPath } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { contract } from "../../src/api/contract.ts";
import { builtFile } from "../../src/lab/built.ts";
import { exec } from "../../src/lab/exec.ts";
import { applySite, ask, attachGuest, startAgent } from "../../src/lab/guarded.ts";
import { patience } from "../../src/lab/patience.ts";
import { addressGuest6, type Lab, raiseLab } from "../../src/lab/raise.ts";
import { type Sniffer, sniff } from "../../src/lab/sniff.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import { type Box, type GuestBox, llOf } from "../../src/lab/topology.ts";
import { sendFrames } from "../../src/lab/trial.ts";
import type { ExplainAnswer, ExplanationView } from "../../src/model/operations.ts";
import { parseHex } from "../../src/packet/hex.ts";

const WAIT = patience(2_000);
/** For what must not arrive; a frame behind it shows that the way is open. */
const QUIET = patience(250);

let lab: Lab;
let agent: LabAgent;
let site: string;
let guest: GuestBox;
let listeners: readonly Sniffer[];

beforeAll(async () => {
  lab = await raiseLab({ name: `exp${process.pid.toString(36)}`, guests: 2, nic: "veth" });
  agent = await startAgent(lab);
  site = await applySite(lab, agent);
  for (const one of lab.topology.guests) {
    const mac = await attachGuest(lab, agent, one);
    await lab.must(one.box, ["ip", "address", "replace", `${one.address}/24`, "dev", "eth0"]);
    await lab.must(one.box, ["ip", "link", "set", "eth0", "up"]);
    await addressGuest6(lab, { ...one, mac });
    guest ??= { ...one, mac };
  }
  // Both are heard: the gateway by an answer, the host by its ARP alone, for it offers nothing else.
  for (const address of [lab.topology.gateway.address, lab.topology.host.address])
    await lab.exec(guest.box, ["ping", "-n", "-c", "1", "-W", "2", address]);
  await lab.exec(guest.box, ["ping", "-n", "-c", "1", "-W", "2", `${llOf(lab.topology.host)}%eth0`]);
  const boxes: readonly Box[] = ["gw", "neighbour", "guest1", "guest2"];
  listeners = await Promise.all(boxes.map((box) => sniff(lab, box)));
});
afterAll(async () => {
  for (const listener of listeners ?? []) await listener.stop();
  await lab?.down();
});

interface Asked {
  readonly status: number;
  readonly answer: ExplainAnswer;
  readonly view: ExplanationView;
}

async function vifguard(words: readonly string[]): Promise<Asked> {
  const { status, stdout, stderr } = await exec([execPath, builtFile("main.js"), "explain", ...words, "-o", "json"]);
  expect(stderr).toBe("");
  const answer = contract.explain.reply.parse(JSON.parse(stdout)) as ExplainAnswer;
  const [view] = answer.frames;
  if (view === undefined) throw new TypeError(`no frame: ${stdout}`);
  return { status: status ?? -1, answer, view };
}

const live = (words: readonly string[]): Promise<Asked> => vifguard([...words, "--socket", agent.socket]);
const offline = (words: readonly string[]): Promise<Asked> => vifguard([...words, "-f", site]);

function bytesOf({ hex }: ExplanationView): Uint8Array {
  const bytes = parseHex(hex);
  if (bytes === undefined) throw new TypeError(hex);
  return bytes;
}

async function counted({ direction, line }: ExplanationView): Promise<number> {
  const rows: unknown = JSON.parse(await ask(agent, ["drops", "--port", guest.port, "-o", "json"]));
  const lines = contract.drops.reply
    .parse(rows)
    .filter((row) => row.direction === direction && row.reason === line?.reason);
  return lines.reduce((sum, { packets }) => sum + packets, 0);
}

async function arrives(box: Box, frame: Uint8Array, since: number, milliseconds: number): Promise<boolean> {
  const listener = listeners.find((one) => one.box === box);
  const deadline = performance.now() + milliseconds;
  while (listener?.has(frame, since) !== true && performance.now() < deadline) await sleep(5);
  return listener?.has(frame, since) === true;
}

/** Sends the frame that was explained, and holds the kernel to what was said. */
async function holds(view: ExplanationView, from: Box, at: Box): Promise<void> {
  const frame = bytesOf(view);
  const before = await counted(view);
  const since = listeners.find(({ box }) => box === at)?.frames().length ?? 0;
  await sendFrames(lab, from, [frame]);
  expect(await arrives(at, frame, since, view.verdict === "pass" ? WAIT : QUIET), view.sentence).toBe(
    view.verdict === "pass",
  );
  if (view.verdict === "drop") expect(await counted(view), view.sentence).toBeGreaterThan(before);
}

describe("what the guest sends", () => {
  test.each([
    ["arp reply gateway is-at own", "arp-sender"],
    ["arp announce", undefined],
    ["udp own > gateway:9", undefined],
    ["udp 203.0.113.99 > gateway:9", "ip4-source"],
    ["udp own > 203.0.113.240:9", "dest-mac"],
    ["tcp own to 198.51.100.7:443", undefined],
    ["ping gateway vlan 7", "vlan"],
    ["ping gateway mac from 02:00:00:00:00:99", "mac-source"],
    ["udp own > 224.0.0.251:5353", "multicast"],
    ["stp", "ethertype"],
    ["dhcp offer", "dhcp-server"],
    ["ping gateway6", undefined],
    ["na fe80::1 is-at own", "nd"],
    ["ra", "ra"],
    ["dad", undefined],
  ])("%s", async (phrase, reason) => {
    const { status, view, answer } = await live(["guest1", phrase]);
    expect(view.line?.reason, view.sentence).toBe(reason);
    expect(status).toBe(reason === undefined ? 0 : 1);
    await holds(view, guest.box, "gw");
    const alone = await offline(["guest1", phrase]);
    const essence = ({ verdict, line, chains, direction }: ExplanationView): unknown => ({
      verdict,
      line,
      chains,
      direction,
    });
    expect(essence(alone.view)).toEqual(essence(view));
    expect(alone.answer).toMatchObject({ nic: answer.nic, network: answer.network });
    expect(answer.port).toBe(guest.port);
  });

  test("the host itself: known to the kernel, not to a file", async () => {
    const { host } = lab.topology;
    const { view } = await live([guest.port, `tcp own > ${host.address}:22`]);
    expect(view.sentence).toContain(`host – ${host.address} is the host itself`);
    await holds(view, guest.box, "gw");
    const alone = await offline(["guest1", `tcp own > ${host.address}:22`]);
    expect(alone.answer.notes.join("\n")).toContain("not known without the agent");
  });

  test("its link-local address, where the bridge has the last word", async () => {
    const { view } = await live([
      guest.port,
      `udp own6 > [${llOf(lab.topology.host)}]:9`,
      `mac to ${lab.topology.host.mac}`,
    ]);
    expect(view.line?.reason, JSON.stringify(view)).toBe("host");
    await holds(view, guest.box, "gw");
  });

  test("a DHCP request is answered on the port and goes nowhere", async () => {
    const { status, view } = await live([`${guest.box}/0`, "dhcp discover"]);
    expect(view).toMatchObject({ verdict: "answered", answeredBy: "dhcp" });
    expect(status).toBe(0);
    const own = listeners.find(({ box }) => box === guest.box);
    const since = own?.frames().length ?? 0;
    await holds(view, guest.box, "gw");
    const isOffer = (frame: Uint8Array): boolean => frame[23] === 17 && frame[35] === 67 && frame[37] === 68;
    expect(await own?.waitFor(isOffer, 2_000, since)).toBeDefined();
  });
});

describe("what comes to the guest", () => {
  test.each([
    ["ping own", "gw", undefined],
    ["arp request who-has own", "gw", undefined],
    ["arp announce gateway is-at gateway", "gw", undefined],
    ["arp announce 203.0.113.11 is-at 02:00:00:00:00:99", "neighbour", "arp-sender"],
    ["arp request who-has 203.0.113.200", "gw", "not-for-guest"],
    ["dhcp offer", "gw", "dhcp-server"],
    ["udp gateway > own:68", "gw", "dhcp-server"],
    ["ra from fe80::99", "neighbour", "ra"],
  ] as const)("%s", async (phrase, from, reason) => {
    const words = ["guest1", "--to", phrase];
    const { view } = await live(words);
    expect(view.line?.reason, view.sentence).toBe(reason);
    await holds(view, from, guest.box);
    const alone = (await offline(words)).view;
    expect([alone.verdict, alone.line, alone.chains]).toEqual([view.verdict, view.line, view.chains]);
  });
});

test("a port that is nobody's passes nothing, and a NIC without a port is not known", async () => {
  await ask(agent, ["detach", lab.topology.guests[1]?.port ?? ""]);
  const { view, status } = await live([lab.topology.guests[1]?.port ?? "", "ping gateway"]);
  expect([view.line?.reason, status]).toEqual(["unbound", 1]);
  const { stderr, status: missing } = await exec([
    execPath,
    builtFile("main.js"),
    "explain",
    "guest2",
    "ping gateway",
    "--socket",
    agent.socket,
  ]);
  expect(missing).toBe(3);
  expect(stderr).toContain("guest 'guest2' has no port on this host");
});
