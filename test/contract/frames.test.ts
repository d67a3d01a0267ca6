/** Frames on the kernel: what a rule logs comes up whole with its port, what we send leaves by the right port and survives ports that go. */
import { closeSync, openSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import type { LoggedFrame } from "../../src/kernel/frames.ts";
import { openFrames } from "../../src/kernel/frames-netlink.ts";
import { openLinks } from "../../src/kernel/links-netlink.ts";
import { openNft } from "../../src/kernel/nft-netlink.ts";
import { ethernet, tagged } from "../../src/lab/forge.ts";
import { parseMac } from "../../src/model/mac.ts";
import { parseInterfaceName } from "../../src/model/names.ts";
import { command, ipBatch, ownNamespace } from "../support/namespace.ts";

ownNamespace("frames");
ipBatch([
  "link add vif1.0 type veth peer name g1",
  "link add vif2.0 type veth peer name g2",
  ...["vif1.0", "g1", "vif2.0", "g2"].map((name) => `link set ${name} up`),
]);

const MARK = 0x1234;
const links = openLinks();
const nft = openNft();
const frames = openFrames(MARK);
afterAll(() => {
  frames.close();
  nft.close();
  links.close();
});

const index = (name: string): number => links.byName(parseInterfaceName(name) ?? raise(name))?.ifindex ?? raise(name);
function raise(what: string): never {
  throw new TypeError(what);
}
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const mac = (text: string) => parseMac(text) ?? raise(text);
const plain = (n: number): Uint8Array =>
  ethernet(
    mac("02:00:00:00:00:02"),
    mac("02:00:00:00:00:01"),
    0x88b5,
    Uint8Array.from({ length: 60 }, (_, i) => (i + n) & 255),
  );

/** Logs everything that comes in by both ports (group 7001) and goes out by vif1.0 (group 7002). */
async function logEverything(): Promise<void> {
  await nft.load(
    `table netdev t {\n\tchain in {\n\t\ttype filter hook ingress devices = { "vif1.0", "vif2.0" } priority 0; policy accept;\n\t\tmeta mark set 0x7 log group 7001 queue-threshold 1\n\t}\n\tchain out {\n\t\ttype filter hook egress device "vif1.0" priority 0; policy accept;\n\t\tlog group 7002 queue-threshold 1\n\t}\n}\n`,
  );
}

describe("frames (kernel)", () => {
  test("a logged frame carries its port, its mark and every octet but a VLAN tag", async () => {
    await logEverything();
    const seen: LoggedFrame[] = [];
    const subscription = frames.subscribe(
      7001,
      (batch) => seen.push(...batch),
      () => undefined,
    );
    const whole = [plain(1), plain(2), plain(3)];
    const sent = [plain(1), tagged(plain(2), 0x8100, 5), tagged(plain(3), 0x88a8, 0)];
    expect(frames.send(sent.map((bytes) => ({ ifindex: index("g1"), bytes })))).toBe(3);
    await expect
      .poll(() => seen.filter(({ inIfindex }) => inIfindex === index("vif1.0")).length)
      .toBeGreaterThanOrEqual(3);
    for (const bytes of whole)
      expect(seen.map((frame) => Buffer.from(frame.bytes).toString("hex"))).toContain(
        Buffer.from(bytes).toString("hex"),
      );
    expect(new Set(seen.map(({ mark }) => mark))).toEqual(new Set([7]));
    subscription.close();
  });

  test("what is sent on a port passes its egress chain with our mark, whole", async () => {
    const seen: LoggedFrame[] = [];
    const subscription = frames.subscribe(
      7002,
      (batch) => seen.push(...batch),
      () => undefined,
    );
    frames.send([{ ifindex: index("vif1.0"), bytes: plain(9) }]);
    await expect.poll(() => seen.length).toBeGreaterThan(0);
    const ours = seen.find(({ mark }) => mark === MARK);
    expect(ours?.outIfindex).toBe(index("vif1.0"));
    expect(Buffer.from(ours?.bytes ?? [])).toEqual(Buffer.from(plain(9)));
    subscription.close();
  });

  test("a port that is down or gone loses its own frame only", async () => {
    const seen: LoggedFrame[] = [];
    const subscription = frames.subscribe(
      7001,
      (batch) => seen.push(...batch),
      () => undefined,
    );
    command("ip", "link", "set", "g2", "down");
    const sent = [index("g2"), 99_999, index("g1")].map((ifindex, n) => ({ ifindex, bytes: plain(100 + n) }));
    frames.send(sent);
    const has = (bytes: Uint8Array): boolean => seen.some((frame) => hex(frame.bytes) === hex(bytes));
    await expect.poll(() => has(plain(102))).toBe(true);
    expect(has(plain(100))).toBe(false);
    command("ip", "link", "set", "g2", "up");
    await expect.poll(() => frames.send([{ ifindex: index("g2"), bytes: plain(103) }])).toBe(1);
    await expect.poll(() => has(plain(103))).toBe(true);
    subscription.close();
  });

  test("a group that somebody else listens to is refused with a reason", () => {
    const first = frames.subscribe(
      7003,
      () => undefined,
      () => undefined,
    );
    expect(() =>
      frames.subscribe(
        7003,
        () => undefined,
        () => undefined,
      ),
    ).toThrow(/7003/);
    first.close();
  });

  test("sockets beyond descriptor 1024 work", () => {
    const held = Array.from({ length: 1100 }, () => openSync("/dev/null", "r"));
    try {
      const late = openLinks();
      expect(late.list().length).toBeGreaterThan(3);
      late.close();
    } finally {
      for (const fd of held) closeSync(fd);
    }
  });
});
