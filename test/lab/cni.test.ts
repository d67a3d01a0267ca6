/**
 * The CNI plugin against a real agent: every command of the specification, first of a list and behind another plugin. What it answers is what the
 * kernel holds; what fails leaves nothing (I7).
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Box, GuestBox } from "../../src/lab/topology.ts";
import { guestAt } from "../support/guarded-lab.ts";
import { linkNames, type PlatformLab, pings, raisePlatformLab } from "../support/platform-lab.ts";

let platform: PlatformLab;
let one: GuestBox;
beforeAll(async () => {
  platform = await raisePlatformLab("cni", 2);
  const { lab } = platform;
  one = guestAt(lab.topology.guests, 0);
  // Containers come without an interface.
  for (const { box } of lab.topology.guests) await lab.must(box, ["ip", "link", "del", "eth0"]);
});
afterAll(async () => {
  await platform?.lab.down();
});

type Json = Record<string, unknown>;
interface Reply {
  readonly status: number;
  readonly json: Json | undefined;
}

interface Question {
  readonly command: string;
  readonly box?: Box;
  readonly env?: Record<string, string>;
  readonly config?: Json;
}

const network = (): Json => ({
  cniVersion: "1.1.0",
  name: "lan0",
  type: "vifguard-cni",
  socket: platform.agent.socket,
});
const netnsOf = (box: string): string => `/run/netns/${platform.lab.netns(box)}`;

async function ask({ command, box = "guest1", env = {}, config = {} }: Question): Promise<Reply> {
  const call = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: `id-${box}`,
    CNI_NETNS: netnsOf(box),
    CNI_IFNAME: "eth0",
    CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAME=${box}`,
    CNI_PATH: "/opt/cni/bin",
  };
  const stdin = JSON.stringify({ ...network(), ...config });
  const { status, stdout, stderr } = await platform.hook("vifguard-cni", [], { env: { ...call, ...env }, stdin });
  expect(stderr).toBe("");
  return { status, json: stdout === "" ? undefined : JSON.parse(stdout) };
}

const silent = { status: 0, json: undefined };
const cniPorts = async (): Promise<readonly string[]> =>
  (await linkNames(platform.lab, "host")).filter((name) => name.startsWith("vnet"));
const attached = async (): Promise<readonly string[]> =>
  (await platform.client.status()).ports.map(({ guest }) => guest);

afterEach(async () => {
  const left = await cniPorts();
  for (const port of left) await platform.lab.exec("host", ["ip", "link", "del", port]);
  expect(left).toEqual([]);
  expect(await attached()).toEqual([]);
});

test("VERSION", async () => {
  const { status, json } = await ask({ command: "VERSION", config: { cniVersion: "1.0.0" } });
  expect(json).toEqual({ cniVersion: "1.0.0", supportedVersions: ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] });
  expect(status).toBe(0);
});

describe("first of a list", () => {
  test("ADD makes a guarded NIC with the guest's MAC, addresses and routes; CHECK sees what becomes of it; DEL removes all", async () => {
    const { lab } = platform;
    const added = await ask({ command: "ADD" });
    const [port = ""] = await cniPorts();
    const mac = one.mac;
    const six = expect.stringMatching(/^2001:db8:66:.*\/64$/);
    expect(added).toEqual({
      status: 0,
      json: {
        cniVersion: "1.1.0",
        interfaces: [
          { name: port, mac: expect.stringMatching(/^[0-9a-f:]{17}$/), mtu: 1500 },
          { name: "eth0", mac, mtu: 1500, sandbox: netnsOf("guest1") },
        ],
        ips: [
          { address: `${one.address}/24`, gateway: lab.topology.gateway.address, interface: 1 },
          { address: six, gateway: "fe80::1", interface: 1 },
        ],
        routes: [
          { dst: "0.0.0.0/0", gw: lab.topology.gateway.address },
          { dst: "::/0", gw: "fe80::1" },
        ],
        dns: {},
      },
    });
    expect(port).toMatch(/^vnetc[0-9a-f]{10}$/);
    expect(await pings(lab, "guest1", lab.topology.gateway.address)).toBe(true);

    await lab.must("guest1", ["ip", "address", "add", "203.0.113.99/24", "dev", "eth0"]);
    expect(await pings(lab, "guest1", lab.topology.gateway.address, "-I", "203.0.113.99"), "a lie").toBe(false);
    expect((await platform.client.drops({ port })).map(({ reason }) => reason)).toContain("ip4-source");

    const prevResult = added.json;
    expect(await ask({ command: "CHECK", config: { prevResult } })).toEqual(silent);
    await lab.must("guest1", ["ip", "address", "del", `${one.address}/24`, "dev", "eth0"]);
    const lost = await ask({ command: "CHECK", config: { prevResult } });
    expect(lost).toMatchObject({
      status: 1,
      json: { code: 100, msg: expect.stringContaining("has lost 203.0.113.10/24") },
    });
    await platform.client.detach(port);
    const open = await ask({ command: "CHECK", config: { prevResult } });
    expect(open).toMatchObject({ status: 1, json: { code: 100, msg: expect.stringContaining("not attached") } });

    expect(await ask({ command: "DEL", config: { prevResult } })).toEqual(silent);
    expect(await linkNames(lab, "guest1")).toEqual(["lo"]);
    expect(await ask({ command: "DEL", env: { CNI_NETNS: "" } }), "again, and the sandbox is gone").toEqual(silent);
  });

  test("results of older versions have the family of each address", async () => {
    const { json } = await ask({ command: "ADD", config: { cniVersion: "0.4.0", mtu: 1400 } });
    expect(json).toMatchObject({ cniVersion: "0.4.0", ips: [{ version: "4", interface: 1 }, { version: "6" }] });
    expect(JSON.stringify(json)).not.toContain("mtu");
    expect(await platform.lab.must("guest1", ["cat", "/sys/class/net/eth0/mtu"])).toBe("1400\n");
    expect(await ask({ command: "DEL" })).toEqual(silent);
  });

  test.each([
    [3, "no namespace", { env: { CNI_NETNS: "/run/netns/nowhere" } }, "/run/netns/nowhere"],
    [4, "a name that is taken", { env: { CNI_IFNAME: "lo" } }, "'lo' exists"],
    [7, "no guest named", { env: { CNI_ARGS: "" } }, "no guest is named"],
    [7, "an unknown guest", { env: { CNI_ARGS: "VIFGUARD_GUEST=nobody" } }, "'nobody' does not exist"],
    [7, "an unguarded prefix", { config: { portPrefix: "open" } }, "'open' is not guarded: vif, vnet, tap"],
    [
      7,
      "another address",
      { env: { CNI_ARGS: "VIFGUARD_GUEST=guest1;IP=203.0.113.77" } },
      "203.0.113.77 was asked for",
    ],
    [
      7,
      "another MAC",
      { env: { CNI_ARGS: "VIFGUARD_GUEST=guest1;MAC=02:00:00:00:00:77" } },
      "02:00:00:00:00:77 was asked for",
    ],
    [7, "a NIC it has not", { config: { nic: 5 } }, "has no NIC 5"],
    [11, "no agent", { config: { socket: "/nonexistent/agent.sock" } }, "no agent at"],
  ] as const)("code %i for %s, and nothing is left", async (code, _, question, text) => {
    const { status, json } = await ask({
      command: "ADD",
      ...question,
      env: { ...("env" in question ? question.env : {}) },
    });
    expect(json).toMatchObject({ cniVersion: "1.1.0", code, msg: expect.stringContaining(text) });
    expect(status).toBe(1);
    expect(await cniPorts()).toEqual([]);
    expect(await linkNames(platform.lab, "guest1")).toEqual(["lo"]);
  });

  test("GC removes what the runtime does not know, and only of its network", async () => {
    for (const box of ["guest1", "guest2"] as const) await ask({ command: "ADD", box });
    const of = (name: string, containerID: string): Json => ({
      name,
      "cni.dev/valid-attachments": [{ containerID, ifname: "eth0" }],
    });
    const none = { CNI_CONTAINERID: "", CNI_NETNS: "", CNI_IFNAME: "", CNI_ARGS: "" };
    expect(await ask({ command: "GC", env: none, config: of("other", "id-nobody") })).toEqual(silent);
    expect(await attached()).toEqual(["guest1", "guest2"].sort());
    expect(await ask({ command: "GC", env: none, config: of("lan0", "id-guest2") })).toEqual(silent);
    expect(await attached()).toEqual(["guest2"]);
    expect(await pings(platform.lab, "guest2", platform.lab.topology.gateway.address), "what is known stays").toBe(
      true,
    );
    expect(await ask({ command: "DEL", box: "guest2" })).toEqual(silent);
  });

  test("STATUS says whether ADD would work; a container can be removed without an agent", async () => {
    expect(await ask({ command: "STATUS" })).toEqual(silent);
    const gone = { socket: "/nonexistent/agent.sock" };
    expect(await ask({ command: "STATUS", config: gone })).toMatchObject({ status: 1, json: { code: 50 } });
    expect((await ask({ command: "ADD" })).status).toBe(0);
    expect(await ask({ command: "DEL", config: gone })).toEqual(silent);
    expect(await cniPorts()).toEqual([]);
  });
});

describe("behind another plugin", () => {
  /** What the plugin "bridge" leaves. */
  async function previous(ips: readonly Json[]): Promise<Json> {
    const { lab } = platform;
    const lines = [
      `link add vnetprev type veth peer name eth0 netns ${lab.netns("guest1")}`,
      "link set vnetprev master br0 up",
      "address add 203.0.113.1/32 dev vnetprev",
    ];
    await lab.must("host", ["ip", "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
    return {
      cniVersion: "1.1.0",
      interfaces: [
        { name: "br0", mac: lab.topology.host.mac },
        { name: "vnetprev", mac: "02:00:00:00:00:01" },
        { name: "eth0", mac: "02:00:00:00:00:02", sandbox: netnsOf("guest1") },
      ],
      ips,
      dns: { nameservers: ["203.0.113.2"] },
    };
  }
  test("the pair is found and guarded, the MAC forced; prevResult goes on; DEL leaves the pair to its maker, shut", async () => {
    const { lab } = platform;
    const ip = { address: `${one.address}/24`, interface: 2 };
    const prevResult = await previous([ip]);
    const { status, json } = await ask({ command: "ADD", config: { prevResult } });
    expect(status).toBe(0);
    expect(json).toEqual({
      ...prevResult,
      interfaces: [{}, {}, { mac: one.mac }].map((more, i) => ({
        ...(prevResult["interfaces"] as Json[])[i],
        ...more,
      })),
    });
    await lab.must("guest1", ["ip", "address", "add", `${one.address}/24`, "dev", "eth0"]);
    expect(await pings(lab, "guest1", lab.topology.gateway.address)).toBe(true);
    expect(await lab.must("host", ["ip", "-4", "address", "show", "dev", "vnetprev"])).toBe("");
    expect(await ask({ command: "CHECK", config: { prevResult: json } })).toEqual(silent);
    expect(await ask({ command: "DEL", config: { prevResult: json } })).toEqual(silent);
    expect(await cniPorts()).toEqual(["vnetprev"]);
    expect(await pings(lab, "guest1", lab.topology.gateway.address), "shut").toBe(false);
    await lab.must("host", ["ip", "link", "del", "vnetprev"]);
  });

  test("without addresses of the plugin before, the guest's are given", async () => {
    const { lab } = platform;
    const { json } = await ask({ command: "ADD", config: { prevResult: await previous([]) } });
    expect(json).toMatchObject({ ips: [{ address: `${one.address}/24`, interface: 2 }, {}], routes: [{}, {}] });
    expect(await pings(lab, "guest1", lab.topology.gateway.address)).toBe(true);
    await lab.must("host", ["ip", "link", "del", "vnetprev"]);
  });

  test("a foreign address is refused, and the port is down", async () => {
    const { lab } = platform;
    const prevResult = await previous([{ address: "203.0.113.200/24", interface: 2 }]);
    const { status, json } = await ask({ command: "ADD", config: { prevResult } });
    expect(json).toMatchObject({ code: 7, msg: expect.stringContaining("gave 203.0.113.200/24") });
    expect(status).toBe(1);
    expect(await lab.must("host", ["ip", "link", "show", "dev", "vnetprev"])).toContain("state DOWN");
    await lab.must("host", ["ip", "link", "del", "vnetprev"]);
  });
});
