/**
 * A domain that is migrated live: libvirt's hook on both hosts, called in the order and with the words of libvirt.org/hooks.html ("QEMU guest migration"), and what
 * libvirt-watch adds. Whatever fails on the way, the host where the guest runs answers for it, and never two do.
 */
import { expect, test } from "vitest";
import { GuardError } from "../src/model/errors.ts";
import type { Host } from "../src/platform/host.ts";
import { libvirtHook } from "../src/platform/libvirt.ts";
import { heard, libvirtWatch } from "../src/platform/libvirt-watch.ts";
import { type Fleet, type FleetHost, raiseFleet } from "./support/memory-fleet.ts";

const MAC = "fe:00:0a:00:00:0a";
const PORT = "vif1.0";

/** Before QEMU is there the tap has no name. */
const domainXml = (port?: string): string => `<domain type='qemu'><name>g1</name><devices><interface type='bridge'>
<mac address='${MAC}'/><source bridge='br0'/>${port === undefined ? "" : `<target dev='${port}'/>`}</interface></devices></domain>`;

function machine(now: () => number): Host {
  const notes = new Map<string, number>();
  return {
    run: () => Promise.reject(new TypeError("no program is run")),
    lines: () => {
      throw new TypeError("no program is followed");
    },
    pause: () => Promise.resolve(),
    exists: () => Promise.resolve(false),
    note: (path) => Promise.resolve(void notes.set(path, now())),
    isNoted: (path, within) => Promise.resolve(now() - (notes.get(path) ?? Number.NEGATIVE_INFINITY) <= within),
    unnote: (path) => Promise.resolve(void notes.delete(path)),
    digest: (text) => text,
  };
}

interface Libvirt {
  /** @returns what was said, or the code it failed with */
  hook(operation: string, when: "begin" | "end", port?: string): Promise<readonly string[] | string>;
  plug(): void;
  unplug(): void;
}

function libvirtOn(fleetHost: FleetHost, now: () => number): Libvirt {
  const host = machine(now);
  return {
    hook: async (operation, when, port) => {
      const said: string[] = [];
      const hook = { words: ["g1", operation, when, "-"], env: {}, client: fleetHost.client(), host };
      try {
        await libvirtHook({
          ...hook,
          stdin: () => Promise.resolve(domainXml(port)),
          say: (text) => void said.push(text),
        });
        return said;
      } catch (error) {
        if (error instanceof GuardError) return error.code;
        throw error;
      }
    },
    plug: () => fleetHost.plug(PORT),
    unplug: () => fleetHost.unplug(PORT),
  };
}

interface Both {
  readonly fleet: Fleet;
  readonly source: Libvirt;
  readonly target: Libvirt;
  /** How many answer at the source, at the target, and the most that ever did at once. */
  counts(): readonly number[];
  later(milliseconds: number): void;
}

/** The guest runs on the source. */
async function withLibvirt(use: (both: Both) => Promise<void>): Promise<void> {
  const fleet = await raiseFleet("bridged");
  let time = 0;
  const [source, target] = [libvirtOn(fleet.first, () => time), libvirtOn(fleet.second, () => time)];
  try {
    expect(await source.hook("prepare", "begin")).toEqual([]);
    source.plug();
    for (const operation of ["start", "started"]) expect(await source.hook(operation, "begin", PORT)).toEqual([]);
    await use({
      fleet,
      source,
      target,
      counts: () => [fleet.first.answering(), fleet.second.answering(), fleet.most()],
      later: (milliseconds) => {
        time += milliseconds;
      },
    });
  } finally {
    await fleet.stop();
  }
}

/** Until QEMU of the target listens for the guest's memory. */
async function comeIn({ target }: Both): Promise<void> {
  expect(await target.hook("migrate", "begin")).toEqual([]);
  expect(await target.hook("prepare", "begin")).toEqual([]);
  target.plug();
  for (const operation of ["start", "started"]) expect(await target.hook(operation, "begin", PORT)).toEqual([]);
}

const stateOf = async (host: FleetHost): Promise<string | undefined> => (await host.status()).ports[0]?.state;

test("prepared on the target while it runs on the source, open when it is resumed there; what the source stops is not the target's", () =>
  withLibvirt(async (both) => {
    const { fleet, source, target, counts } = both;
    await comeIn(both);
    expect([await stateOf(fleet.second), counts()]).toEqual(["prepared", [1, 0, 1]]);
    expect(await target.hook("reconnect", "begin", PORT), "libvirtd was restarted meanwhile").toEqual([]);
    expect([await stateOf(fleet.second), counts()]).toEqual(["prepared", [1, 0, 1]]);
    expect(await target.hook("resumed", "begin", PORT)).toEqual([]);
    expect([await stateOf(fleet.second), counts()]).toEqual(["applied", [0, 1, 1]]);
    for (const operation of ["stopped", "release"]) expect(await source.hook(operation, "end", PORT)).toEqual([]);
    source.unplug();
    await fleet.settle();
    expect(await target.hook("resumed", "begin", PORT), "said again").toEqual([]);
    expect([await fleet.claim(), counts()]).toEqual([{ fence: 2, holder: { host: "b", port: PORT } }, [0, 1, 1]]);
  }));

test("the source is gone before the target has heard that the guest runs: then it is had at once", () =>
  withLibvirt(async (both) => {
    const { fleet, source, target, counts } = both;
    await comeIn(both);
    source.unplug();
    for (const operation of ["stopped", "release"]) expect(await source.hook(operation, "end", PORT)).toEqual([]);
    await fleet.settle();
    expect(counts()).toEqual([0, 0, 1]);
    expect(await target.hook("resumed", "begin", PORT)).toEqual([]);
    expect(counts()).toEqual([0, 1, 1]);
  }));

test.each(["its hook", "QEMU", "the transfer"])(
  "%s fails on the target: the source goes on, and may try again",
  (what) =>
    withLibvirt(async (both) => {
      const { fleet, target, counts } = both;
      const held = await fleet.claim();
      if (what === "its hook") {
        expect(await target.hook("migrate", "begin")).toEqual([]);
        target.plug();
        fleet.second.limit(2, "refuse");
        expect(await target.hook("start", "begin", PORT)).toBe("KERNEL_REFUSED");
        fleet.second.limit(0, "crash");
      } else await comeIn(both);
      if (what === "QEMU") target.unplug();
      for (const operation of ["stopped", "release"]) expect(await target.hook(operation, "end", PORT)).toEqual([]);
      await fleet.settle();
      expect([await fleet.claim(), await stateOf(fleet.second), counts()]).toEqual([held, undefined, [1, 0, 1]]);
      target.unplug();
      await comeIn(both);
      expect(await target.hook("resumed", "begin", PORT)).toEqual([]);
      expect(counts()).toEqual([0, 1, 1]);
    }),
);

test("the target's agent dies on the way: the source goes on, and the target opens when it is back and is told again", () =>
  withLibvirt(async (both) => {
    const { fleet, target, counts } = both;
    await comeIn(both);
    fleet.second.crash();
    await fleet.second.start();
    expect([await stateOf(fleet.second), counts()]).toEqual(["prepared", [1, 0, 1]]);
    expect(await target.hook("resumed", "begin", PORT)).toEqual([]);
    expect(counts()).toEqual([0, 1, 1]);
  }));

test("the source's agent is dead: the guest is resumed and waits, which is said, and libvirt does not kill it", () =>
  withLibvirt(async (both) => {
    const { fleet, target, counts } = both;
    await comeIn(both);
    fleet.first.crash();
    expect(String(await target.hook("resumed", "begin", PORT))).toContain("has not let go");
    expect(counts()).toEqual([1, 0, 1]);
    await fleet.first.start();
    await fleet.settle();
    expect(counts()).toEqual([0, 1, 1]);
  }));

test("without a migration a second copy of the domain does not start, nor does one long after it was announced", () =>
  withLibvirt(async ({ target, counts, later }) => {
    target.plug();
    expect(await target.hook("start", "begin", PORT)).toBe("NIC_TAKEN");
    expect(await target.hook("migrate", "begin")).toEqual([]);
    later(61_000);
    expect(await target.hook("start", "begin", PORT)).toBe("NIC_TAKEN");
    expect(counts()).toEqual([1, 0, 1]);
  }));

test("what cannot be guarded on the target does not come: the source is told before anything is sent", () =>
  withLibvirt(async ({ fleet, target, source, counts }) => {
    const hook = {
      words: ["g1", "migrate", "begin", "-"],
      env: {},
      client: fleet.second.client(),
      host: machine(() => 0),
    };
    const named = domainXml().replace(
      "<devices>",
      '<metadata><v:guest xmlns:v="urn:vifguard" name="web2"/></metadata><devices>',
    );
    const refused = libvirtHook({ ...hook, stdin: () => Promise.resolve(named), say: () => undefined });
    await expect(refused).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await target.hook("migrate", "begin"), "control").toEqual([]);
    expect(await source.hook("reconnect", "begin", PORT)).toEqual([]);
    expect(counts()).toEqual([1, 0, 1]);
  }));

test.each([
  ["event 'lifecycle' for domain 'g1': Resumed Migrated", { domain: "g1", what: "resumed" }],
  ["event 'lifecycle' for domain g1: Resumed Post-copy", { domain: "g1", what: "resumed" }],
  ["event 'device-added' for domain 'it's g1': net0", { domain: "it's g1", what: "reconnect" }],
  ["event 'lifecycle' for domain 'g1': Started Migrated", undefined],
  ["event 'lifecycle' for domain 'g1': Suspended Migrated", undefined],
  ["events received: 1", undefined],
])("virsh says %s", (line, told) => {
  expect(heard(line)).toEqual(told);
});

test("the watch goes through the domains that are there, opens what runs, and opens what is resumed while it watches", () =>
  withLibvirt(async (both) => {
    const { fleet, counts } = both;
    await comeIn(both);
    let isRunning = false;
    const asked: string[] = [];
    const watch = (...events: readonly string[]): Promise<void> =>
      libvirtWatch({
        words: ["qemu:///system"],
        env: {},
        client: fleet.second.client(),
        stdin: () => Promise.reject(new TypeError("nothing is given there")),
        say: (text) => void asked.push(text),
        host: {
          ...machine(() => 0),
          run: (argv) => {
            const isListed = argv.includes("list") && (isRunning || !argv.includes("--state-running"));
            const stdout = argv.includes("dumpxml") ? domainXml(PORT) : isListed ? "g1\n\n" : "\n";
            return Promise.resolve({ status: 0, stdout, stderr: "" });
          },
          lines: async function* (argv) {
            if (argv.includes("lifecycle")) yield* events;
          },
        },
      });
    await watch("event 'lifecycle' for domain 'g1': Suspended Paused");
    expect([await stateOf(fleet.second), counts()], "it is not resumed").toEqual(["prepared", [1, 0, 1]]);
    isRunning = true;
    await watch();
    expect([await stateOf(fleet.second), counts()]).toEqual(["applied", [0, 1, 1]]);
    await fleet.first.attach(PORT, "ask");
    await fleet.second.attach(PORT, "prepare");
    isRunning = false;
    await watch("event 'lifecycle' for domain 'g1': Resumed Migrated");
    for (let turn = 0; turn < 20 && (await stateOf(fleet.second)) !== "applied"; turn += 1) await fleet.settle();
    expect([await stateOf(fleet.second), counts(), asked]).toEqual(["applied", [0, 1, 1], []]);
  }));
