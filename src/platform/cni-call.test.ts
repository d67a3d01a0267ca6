/** Every way a runtime can ask wrongly, with the code the specification has for it. */
import { describe, expect, test } from "vitest";
import { cniVersions, parseCall } from "./cni-call.ts";

const env = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "8a9cea9a3b4f",
  CNI_NETNS: "/run/netns/c1",
  CNI_IFNAME: "eth0",
  CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAME=zen_dirac",
  CNI_PATH: "/opt/cni/bin",
};
const config = { cniVersion: "1.1.0", name: "lan0", type: "vifguard-cni" };
const ask = (more: Readonly<Record<string, unknown>>, other: Readonly<Record<string, unknown>> = {}) =>
  parseCall({ ...env, ...other } as Record<string, string>, JSON.stringify({ ...config, ...more }));

test("a whole call", () => {
  expect(ask({ nic: 1, mtu: 1400 })).toEqual({
    kind: "call",
    command: "ADD",
    attachment: { container: "8a9cea9a3b4f", ifname: "eth0" },
    netns: "/run/netns/c1",
    wish: { guest: "zen_dirac", nic: 1, mac: undefined, address: undefined },
    config: {
      cniVersion: "1.1.0",
      network: "lan0",
      guest: undefined,
      nic: 1,
      portPrefix: "vnet",
      mtu: 1400,
      socket: undefined,
      prevResult: undefined,
      valid: [],
    },
  });
});

describe("who the guest is", () => {
  test.each([
    ["IgnoreUnknown=1;K8S_POD_NAME=db", {}, "db"],
    ["IgnoreUnknown=1;K8S_POD_NAME=db;K8S_POD_NAMESPACE=shop", {}, "db.shop"],
    ["K8S_POD_NAME=db", { guest: "web1" }, "web1"],
    ["K8S_POD_NAME=db;VIFGUARD_GUEST=web2", { guest: "web1" }, "web2"],
    ["", {}, undefined],
  ])("%s %j", (args, more, guest) => {
    expect(ask(more, { CNI_ARGS: args })).toMatchObject({ kind: "call", wish: { guest } });
  });
  test("what the user asked the runtime for", () => {
    const args = "IgnoreUnknown=1;MAC=02:00:00:74:00:05;IP=10.74.0.55;VIFGUARD_NIC=2";
    expect(ask({}, { CNI_ARGS: args })).toMatchObject({
      wish: { mac: "02:00:00:74:00:05", address: "10.74.0.55", nic: 2 },
    });
    const runtimeConfig = { mac: "02-00-00-74-00-06", ips: ["10.74.0.56/24"] };
    expect(ask({ runtimeConfig })).toMatchObject({ wish: { mac: "02:00:00:74:00:06", address: "10.74.0.56" } });
  });
});

describe("what is wrong", () => {
  test.each([
    [1, { cniVersion: "0.2.0" }, {}, "incompatible"],
    [1, { cniVersion: undefined }, {}, "incompatible"],
    [1, { cniVersion: "0.3.1" }, { CNI_COMMAND: "CHECK" }, "does not allow CHECK"],
    [1, { cniVersion: "1.0.0" }, { CNI_COMMAND: "GC" }, "does not allow GC"],
    [1, { cniVersion: "1.0.0" }, { CNI_COMMAND: "STATUS" }, "does not allow STATUS"],
    [2, { gest: "web1" }, {}, "'gest': \"web1\"; did you mean 'guest'?"],
    [2, { ipam: { type: "host-local" } }, {}, '{"type":"host-local"}: the site decides addresses'],
    [4, {}, { CNI_COMMAND: undefined }, "CNI_COMMAND"],
    [4, {}, { CNI_COMMAND: "UPDATE" }, "CNI_COMMAND"],
    [4, {}, { CNI_CONTAINERID: "", CNI_NETNS: "" }, "CNI_CONTAINERID, CNI_NETNS missing"],
    [4, {}, { CNI_COMMAND: "DEL", CNI_IFNAME: "" }, "CNI_IFNAME missing"],
    [4, {}, { CNI_CONTAINERID: "-x" }, "CNI_CONTAINERID"],
    [4, {}, { CNI_IFNAME: "a b" }, "CNI_IFNAME"],
    [4, {}, { CNI_IFNAME: "0123456789abcdef" }, "CNI_IFNAME"],
    [4, {}, { CNI_ARGS: "COLOUR=red" }, "COLOUR"],
    [4, {}, { CNI_ARGS: "red" }, "KEY=VALUE"],
    [4, {}, { CNI_ARGS: "IP=red" }, "IP"],
    [4, {}, { CNI_ARGS: "MAC=red" }, "MAC"],
    [4, {}, { CNI_ARGS: "VIFGUARD_NIC=-1" }, "VIFGUARD_NIC"],
    [7, { name: "../x" }, {}, "name"],
    [7, { guest: 1 }, {}, "guest"],
    [7, { nic: "0" }, {}, "nic"],
    [7, { mtu: 1 }, {}, "mtu"],
    [7, { portPrefix: "9" }, {}, "portPrefix"],
    [7, { portPrefix: "muchtoolong" }, {}, "portPrefix"],
    [7, { socket: [] }, {}, "socket"],
  ])("code %i: %j %j", (code, more, other, text) => {
    const answer = ask(more, other);
    expect(answer).toMatchObject({ kind: "fault", code });
    expect("msg" in answer ? answer.msg : "").toContain(text);
  });
  test.each(["", "[]", "{", "null"])("code 6: %j on standard input", (text) => {
    expect(parseCall(env, text)).toMatchObject({ kind: "fault", code: 6 });
  });
  test("an error speaks the version of the configuration, once that is known", () => {
    expect(ask({ cniVersion: "0.4.0", mtu: 1 })).toMatchObject({ cniVersion: "0.4.0" });
    expect(ask({ cniVersion: "7.0.0" })).toMatchObject({ cniVersion: "1.1.0" });
  });
});

test("DEL needs no namespace; GC and STATUS need no container", () => {
  const none = { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined };
  expect(ask({}, { CNI_COMMAND: "DEL", CNI_NETNS: "" })).toMatchObject({ kind: "call", netns: undefined });
  for (const command of ["GC", "STATUS"]) expect(ask({}, { ...none, CNI_COMMAND: command })).toMatchObject({ command });
  const valid = [{ containerID: "c1", ifname: "eth0" }];
  expect(ask({ "cni.dev/valid-attachments": valid }, { CNI_COMMAND: "GC" })).toMatchObject({
    config: { valid: [{ container: "c1", ifname: "eth0" }] },
  });
});

test("VERSION is answered whatever stands on standard input", () => {
  for (const [text, cniVersion] of [
    ['{"cniVersion":"1.0.0"}', "1.0.0"],
    ["", "1.1.0"],
  ] as const)
    expect(parseCall({ CNI_COMMAND: "VERSION" }, text)).toEqual({ kind: "version", cniVersion });
  expect(cniVersions).toContain("1.1.0");
});
