/**
 * The hooks of libvirt and of Xen's xl, called as libvirt 9.0 and xl 4.17 were seen to call them, against a real agent. A start that cannot be guarded
 * fails in the platform's own way; nothing that runs is cut.
 */
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Finished } from "../../src/lab/exec.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { eventually, guestAt } from "../support/guarded-lab.ts";
import { hookFile, type PlatformLab, pings, raisePlatformLab } from "../support/platform-lab.ts";

let platform: PlatformLab;
let one: GuestBox;
let two: GuestBox;
beforeAll(async () => {
  platform = await raisePlatformLab("hyp", 2);
  const { lab } = platform;
  [one, two] = [guestAt(lab.topology.guests, 0), guestAt(lab.topology.guests, 1)];
  for (const { box, address } of [one, two])
    await lab.must(box, ["ip", "address", "add", `${address}/24`, "dev", "eth0"]);
});
afterAll(async () => {
  await platform?.lab.down();
});

const attached = async (): Promise<readonly string[]> =>
  (await platform.client.status()).ports.map(({ port, guest, nic }) => `${port} ${guest}/${nic}`);
const reaches = (guest: GuestBox): Promise<boolean> =>
  eventually(() => pings(platform.lab, guest.box, platform.lab.topology.gateway.address), 1_000);
const noAgent = { VIFGUARD_SOCKET: "/nonexistent/agent.sock" };

describe("libvirt", () => {
  interface Nic {
    readonly mac: string;
    readonly port?: string;
    readonly type?: string;
  }
  const nicXml = ({ mac, port, type = "ethernet" }: Nic): string => `
    <interface type='${type}'>
      <mac address='${mac}'/>${port === undefined ? "" : `\n      <target dev='${port}' managed='no'/>`}
      <model type='virtio'/>
      <alias name='net0'/>
    </interface>`;
  const domainXml = (nics: readonly Nic[], guest?: string): string => `<domain type='qemu' id='1'>
  <name>g1</name>
  <uuid>4e56166f-e352-4093-8bea-bf2310ff454b</uuid>${
    guest === undefined
      ? ""
      : `\n  <metadata>\n    <vifguard:guest xmlns:vifguard="urn:vifguard" name="${guest}"/>\n  </metadata>`
  }
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>${nics.map(nicXml).join("")}
  </devices>
</domain>
`;
  const call = (operation: string, xml: string, env: Record<string, string> = {}): Promise<Finished> => {
    const when = operation === "stopped" || operation === "release" ? "end" : "begin";
    return platform.hook("libvirt-hook", ["g1", operation, when, "-"], { env, stdin: xml });
  };
  const fine = { status: 0, stdout: "", stderr: "" };

  test("a domain's life: checked, attached before it runs, kept over a restart of libvirt, shut afterwards", async () => {
    const own = { mac: one.mac, port: one.port };
    const xml = domainXml([own, { mac: "52:54:00:00:00:99", type: "network" }], "guest1");
    expect(await call("prepare", domainXml([{ mac: one.mac, type: "bridge" }], "guest1"))).toMatchObject(fine);
    expect(await attached()).toEqual([]);
    expect(await call("start", xml)).toMatchObject(fine);
    expect(await attached()).toEqual([`${one.port} guest1/0`]);
    expect(await call("started", xml)).toMatchObject(fine);
    expect(await reaches(one)).toBe(true);
    expect(await call("reconnect", xml)).toMatchObject(fine);
    // A failure would make libvirt kill the domain.
    const lonely = await call("reconnect", xml, noAgent);
    expect(lonely).toMatchObject({ status: 0, stdout: "" });
    expect(lonely.stderr).toContain("no agent at");
    expect(await call("migrate", xml)).toMatchObject(fine);
    expect(await reaches(one)).toBe(true);
    expect(await call("stopped", xml)).toMatchObject(fine);
    expect(await call("release", domainXml([{ mac: one.mac }]))).toMatchObject(fine);
    expect(await attached()).toEqual([]);
    expect(await reaches(one)).toBe(false);
  });

  test("by MAC alone, and the end of a domain that was refused does not cut the one that has the NIC", async () => {
    const xml = domainXml([{ mac: one.mac, port: one.port }]);
    expect(await call("start", xml)).toMatchObject(fine);
    const second = domainXml([{ mac: one.mac, port: two.port }]);
    const refused = await call("start", second);
    expect(refused.stderr).toContain("NIC 0 of guest 'guest1' is attached to port 'vif1.0'");
    expect(refused.status).toBe(5);
    expect(await call("stopped", second)).toMatchObject(fine);
    expect(await reaches(one)).toBe(true);
    expect(await call("stopped", xml)).toMatchObject(fine);
  });

  test("a NIC that comes while the domain runs is attached when it is told of", async () => {
    const xml = domainXml([{ mac: one.mac, port: one.port }]);
    expect(await call("start", xml)).toMatchObject(fine);
    const more = domainXml([
      { mac: one.mac, port: one.port },
      { mac: two.mac, port: two.port },
    ]);
    expect(await call("reconnect", more)).toMatchObject(fine);
    expect(await attached()).toEqual([`${one.port} guest1/0`, `${two.port} guest2/0`]);
    expect(await reaches(two)).toBe(true);
    expect(await call("stopped", more)).toMatchObject(fine);
    expect(await attached()).toEqual([]);
  });

  test("what fails is said at prepare, before anything is made; NICs that are nobody's stay shut", async () => {
    const mine = domainXml([{ mac: one.mac, port: one.port }], "guest1");
    const refusals = [
      [
        domainXml([{ mac: "52:54:00:00:00:01" }], "guest1"),
        {},
        3,
        "MAC 52:54:00:00:00:01 is none of guest 'guest1', which has fe:00:",
      ],
      [domainXml([{ mac: one.mac }], "nobody"), {}, 3, "'nobody' does not exist"],
      ["<domain", {}, 2, "not the XML of a domain"],
      [mine, noAgent, 7, "no agent at"],
    ] as const;
    for (const [xml, env, status, text] of refusals) {
      const done = await call("prepare", xml, env);
      expect(done.stderr).toContain(text);
      expect(done.status).toBe(status);
    }
    const nobody = domainXml([{ mac: "52:54:00:00:00:01", port: one.port }]);
    for (const operation of ["prepare", "start"]) expect(await call(operation, nobody)).toMatchObject(fine);
    expect(await attached()).toEqual([]);
  });
});

describe("Xen", () => {
  const programs = resolve(dirname(fileURLToPath(import.meta.url)), "../support/xenstore");
  const environment = (): Record<string, string> => ({
    PATH: `${programs}:/usr/sbin:/usr/bin:/sbin:/bin`,
    XENSTORE_DIR: `${platform.lab.directory}/xenstore`,
  });
  const store = async (keys: Readonly<Record<string, string>>): Promise<void> => {
    await platform.lab.must("host", [`${programs}/xenstore-write`, ...Object.entries(keys).flat()], {
      env: environment(),
    });
  };
  const key = async (path: string): Promise<string> =>
    (await platform.lab.exec("host", [`${programs}/xenstore-read`, path], { env: environment() })).stdout.trim();

  interface Vif {
    readonly domid: number;
    readonly name: string;
    readonly mac: string;
    readonly more?: Readonly<Record<string, string>>;
  }
  /** As libxl leaves the keys before it calls the script. */
  async function create({ domid, name, mac, more = {} }: Vif): Promise<string> {
    const backend = `backend/vif/${domid}/0`;
    const keys = {
      frontend: `/local/domain/${domid}/device/vif/0`,
      "frontend-id": String(domid),
      mac,
      bridge: "xenbr0",
      ...more,
    };
    const own = Object.entries({ ...keys, "hotplug-status": "" }).map(([k, value]) => [`${backend}/${k}`, value]);
    // What the guest says of itself is its own affair.
    const guest = { [`/local/domain/${domid}/device/vif/0/mac`]: two.mac, [`/local/domain/${domid}/name`]: name };
    await store({ ...Object.fromEntries(own), ...guest });
    return backend;
  }
  const call = (
    backend: string,
    vif: string,
    words: readonly string[],
    env: Record<string, string> = {},
  ): Promise<Finished> =>
    platform.hook("vif-vifguard", words, {
      env: { ...environment(), XENBUS_PATH: backend, XENBUS_TYPE: "vif", XENBUS_BASE_PATH: "backend", vif, ...env },
    });
  const online = ["online", "type_if=vif"];
  const offline = ["offline", "type_if=vif"];

  test("online attaches and says connected; offline shuts, as often as it is told", async () => {
    const backend = await create({ domid: 1, name: "guest1", mac: one.mac, more: { mtu: "1400" } });
    expect(await call(backend, one.port, online)).toMatchObject({ status: 0, stderr: "" });
    expect(await key(`${backend}/hotplug-status`)).toBe("connected");
    expect(await attached()).toEqual([`${one.port} guest1/0`]);
    expect(await platform.lab.must("host", ["cat", `/sys/class/net/${one.port}/mtu`])).toBe("1400\n");
    expect(await reaches(one)).toBe(true);
    expect((await call(backend, one.port, offline)).status).toBe(0);
    expect((await call("backend/vif/9/0", one.port, offline)).status, "again, and all keys are gone").toBe(0);
    expect((await call(backend, one.port, offline, noAgent)).status, "again, without an agent").toBe(0);
    expect(await attached()).toEqual([]);
    expect(await reaches(one)).toBe(false);
  });

  test("an HVM guest: after the vif comes its emulated card and serves; either may end first, and be told twice", async () => {
    const emulated = `${one.port}-emu`;
    const tap = { INTERFACE: emulated };
    const [add, remove] = [
      ["add", "type_if=tap"],
      ["remove", "type_if=tap"],
    ];
    const backend = await create({ domid: 11, name: "guest1", mac: one.mac, more: { type: "vif_ioemu", mtu: "1400" } });
    // The guest has not connected its driver.
    await platform.lab.must(one.box, ["ip", "link", "set", "eth0", "down"]);
    await platform.lab.must("host", ["ip", "tuntap", "add", "dev", emulated, "mode", "tap"]);
    const early = await call(backend, one.port, add, tap);
    expect(early.status, "there is no vif yet").toBe(3);
    expect(await key(`${backend}/hotplug-error`)).toContain(`port '${one.port}' is not attached`);
    for (let round = 0; round < 2; round += 1) {
      expect(await call(backend, one.port, online, tap)).toMatchObject({ status: 0, stderr: "" });
      expect(await call(backend, one.port, add, tap)).toMatchObject({ status: 0, stderr: "" });
      expect((await call(backend, one.port, add, tap)).status, "again").toBe(0);
      expect((await call(backend, one.port, online, tap)).status, "again").toBe(0);
      const { ports } = await platform.client.status();
      expect(ports.map(({ port, state }) => [port, state])).toEqual([
        [one.port, "standby"],
        [emulated, "applied"],
      ]);
      expect(await platform.lab.must("host", ["cat", `/sys/class/net/${emulated}/mtu`])).toBe("1400\n");
      for (const words of round === 0 ? [offline, remove] : [remove, offline])
        expect((await call(backend, one.port, words, tap)).status).toBe(0);
      expect(await attached()).toEqual([]);
    }
    expect((await call(backend, one.port, remove, { ...tap, ...noAgent })).status, "again, without an agent").toBe(0);
    await call(backend, one.port, online, tap);
    const lonely = await call(backend, one.port, add, { ...tap, ...noAgent });
    expect([lonely.status, await key(`${backend}/hotplug-status`)]).toEqual([7, "error"]);
    expect(await attached(), "xl then ends the domain").toEqual([`${one.port} guest1/0`]);
    await call(backend, one.port, offline, tap);
    await platform.lab.must("host", ["ip", "link", "del", emulated]);
    await platform.lab.must(one.box, ["ip", "link", "set", "eth0", "up"]);
  });

  test("the emulated card of a vif with a name is called after it", async () => {
    const emulated = `${one.port}-emu`;
    await platform.lab.must("host", ["ip", "tuntap", "add", "dev", emulated, "mode", "tap"]);
    const backend = await create({ domid: 12, name: "guest1", mac: one.mac, more: { vifname: "vif-w" } });
    expect((await call(backend, one.port, online)).status).toBe(0);
    const add = ["add", "type_if=tap"];
    await store({ [`${backend}/vifname`]: "vif-frontends1" });
    const long = await call(backend, one.port, add);
    expect(long.stderr).toContain('would be called "vif-frontends1-emu"');
    await store({ [`${backend}/vifname`]: "vif-w" });
    expect(await call(backend, one.port, add)).toMatchObject({ status: 0, stderr: "" });
    expect(await attached()).toEqual(["vif-w guest1/0", "vif-w-emu guest1/0"]);
    expect((await call(backend, one.port, offline)).status).toBe(0);
    expect(await attached()).toEqual([]);
    await platform.lab.must("host", ["ip", "link", "del", "vif-w-emu"]);
    await platform.lab.must("host", ["ip", "link", "set", "dev", "vif-w", "down", "name", one.port]);
  });

  test("a start that cannot be guarded fails, and xl has the words", async () => {
    const refusals = [
      [{ domid: 2, name: "guest1", mac: two.mac }, {}, 3, "is none of guest 'guest1'"],
      [{ domid: 3, name: "nobody", mac: one.mac }, {}, 3, "'nobody' does not exist"],
      [
        { domid: 4, name: "guest1", mac: one.mac, more: { vifname: "open0" } },
        {},
        2,
        'vifname "open0" does not begin with',
      ],
      [{ domid: 5, name: "guest1", mac: one.mac }, noAgent, 7, "no agent at"],
    ] as const;
    for (const [vif, env, status, text] of refusals) {
      const backend = await create(vif);
      const done = await call(backend, one.port, online, env);
      expect(done.stderr).toContain(text);
      expect(done.status).toBe(status);
      expect(await key(`${backend}/hotplug-status`)).toBe("error");
      expect(await key(`${backend}/hotplug-error`)).toMatch(/^vifguard: .+ \([A-Z_]+\)$/);
    }
    expect((await call("", one.port, online)).status).toBe(2);
    expect(await attached()).toEqual([]);
  });

  test("two domains at once; vifname renames; vif-bridge's post hook does the same", async () => {
    const first = await create({ domid: 6, name: "guest1--incoming", mac: one.mac, more: { vifname: "vif-web" } });
    const second = await create({ domid: 7, name: "guest2", mac: two.mac });
    const env = { ...environment(), XENBUS_PATH: second, vif: two.port };
    const { VIFGUARD = "", VIFGUARD_SOCKET = "" } = platform.hookEnvironment;
    const bridge = (command: string): Promise<Finished> =>
      platform.lab.exec(
        "host",
        ["sh", "-c", `command=${command}; type_if=vif; . ${hookFile("vif-post.hook")}; echo success`],
        {
          env: { ...env, VIFGUARD, VIFGUARD_SOCKET },
        },
      );
    const [done, other] = await Promise.all([call(first, one.port, online), bridge("online")]);
    expect(done).toMatchObject({ status: 0, stderr: "" });
    expect(other).toMatchObject({ status: 0, stdout: "success\n", stderr: "" });
    expect(await attached()).toEqual(["vif-web guest1/0", `${two.port} guest2/0`]);
    expect(await reaches(one)).toBe(true);
    expect(await reaches(two)).toBe(true);
    expect((await call(first, one.port, offline)).status).toBe(0);
    expect((await bridge("offline")).status).toBe(0);
    expect(await attached()).toEqual([]);
    const backend = await create({ domid: 8, name: "nobody", mac: two.mac });
    const refused = await platform.lab.exec(
      "host",
      ["sh", "-c", `command=online; . ${hookFile("vif-post.hook")}; echo success`],
      {
        env: { ...env, XENBUS_PATH: backend, VIFGUARD, VIFGUARD_SOCKET },
      },
    );
    expect(refused, "vif-bridge never comes to say success").toMatchObject({ status: 1, stdout: "" });
    expect(await key(`${backend}/hotplug-status`)).toBe("error");
  });
});
