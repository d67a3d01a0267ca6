/** Names and wires of the lab, without a kernel. */
import { describe, expect, test } from "vitest";
import { ipv4ToBytes } from "../model/ipv4.ts";
import { prefix6Contains } from "../model/ipv6.ts";
import { link4At, link6At } from "../model/transport.ts";
import {
  boxOf,
  globalOf,
  LAB_POOL6,
  labOfNamespace,
  linkRoutes,
  llOf,
  MAX_GUESTS,
  namespaceOf,
  parseLabName,
  planLab,
  schemeMac,
  wiringOf,
} from "./topology.ts";

const lab = planLab({ name: "one", guests: 2, nic: "veth" });

describe("names", () => {
  test.each(["one", "a", "demo12", "0", "abcdefghijklmno"])("%s is a lab's name", (text) => {
    expect(parseLabName(text)).toBe(text);
  });
  test.each(["", "One", "a-b", "a b", "../x", "a;b", "abcdefghijklmnop", "ä"])("'%s' is not", (text) => {
    expect(parseLabName(text)).toBeUndefined();
    expect(() => planLab({ name: text, guests: 1, nic: "veth" })).toThrow(expect.objectContaining({ code: "USAGE" }));
  });
  test("a namespace says which lab it belongs to, and others belong to none", () => {
    for (const box of lab.boxes) expect(labOfNamespace(namespaceOf(lab.name, box))).toBe("one");
    for (const netns of ["vg-one", "vg-one-other", "vg-a-b-host", "x-one-host", "vg-one-guest0", "vg-one-guest100"])
      expect(labOfNamespace(netns)).toBeUndefined();
  });
  test("a box that is not there is named beside those that are", () => {
    expect(boxOf(lab, "guest2")).toBe("guest2");
    expect(() => boxOf(lab, "guest3")).toThrow(/guest3.*lan, gw, neighbour, host, guest1, guest2/);
  });
});

describe("plan", () => {
  test.each([0, -1, 1.5, Number.NaN, MAX_GUESTS + 1])("%s guests are refused", (guests) => {
    expect(() => planLab({ name: "x", guests, nic: "veth" })).toThrow(expect.objectContaining({ code: "USAGE" }));
  });
  test("everybody has a MAC and an address of their own", () => {
    const { gateway, neighbour, guests, host } = planLab({ name: "x", guests: MAX_GUESTS, nic: "veth" });
    const parties = [gateway, neighbour, host, ...guests];
    expect(new Set(parties.map(({ address }) => address)).size).toBe(parties.length);
    expect(new Set(parties.map(({ mac }) => mac)).size).toBe(parties.length);
    expect(new Set([host.address6, ...parties.flatMap((party) => [llOf(party), globalOf(party)])]).size).toBe(
      2 * parties.length + 1,
    );
    expect(host).toMatchObject({ address: "203.0.113.3", address6: "2001:db8:66::3" });
    expect(globalOf(neighbour)).toBe("2001:db8:66:0:76:67ff:fe00:2");
    expect(gateway.address).toBe("203.0.113.1");
    expect(neighbour.address).toBe("203.0.113.2");
    expect(guests[0]).toEqual({
      box: "guest1",
      on: "host",
      port: "vif1.0",
      address: "203.0.113.10",
      mac: "fe:00:cb:00:71:0a",
    });
  });
  test("the scheme's MAC carries the address", () => {
    const [guest] = lab.guests;
    expect(guest).toBeDefined();
    if (guest === undefined) return;
    expect(schemeMac(guest.address)).toBe(guest.mac);
    expect(ipv4ToBytes(guest.address)).toEqual(Uint8Array.of(203, 0, 113, 10));
  });
  test("a guest may be born with another MAC", () => {
    const mac = lab.neighbour.mac;
    expect(planLab({ name: "x", guests: 2, nic: "veth", guestMacs: [mac] }).guests.map((guest) => guest.mac)).toEqual([
      mac,
      lab.guests[1]?.mac,
    ]);
  });
});

describe("wires", () => {
  test("every command is for a namespace of the lab, each of which has work", () => {
    for (const nic of ["veth", "tap"] as const) {
      const topology = planLab({ name: "one", guests: 3, nic });
      const batches = wiringOf(topology);
      expect(batches.map(({ netns }) => netns)).toEqual(topology.boxes.map((box) => namespaceOf(topology.name, box)));
      for (const { lines } of batches) expect(lines.length).toBeGreaterThan(0);
    }
  });
  test("guests' ports are neither up nor in the bridge", () => {
    const host = wiringOf(lab).find(({ netns }) => netns === "vg-one-host");
    expect(host?.lines).toContain("link add vif1.0 type veth peer name eth0 netns vg-one-guest1");
    expect(host?.lines.filter((line) => /^link set vif/.test(line))).toEqual([]);
    expect(host?.lines).toContain("link set eth0 master br0 up");
    const routed = wiringOf(planLab({ name: "two", guests: 3, nic: "veth", wiring: "routed", hosts: 2 }));
    const lines = (box: string): readonly string[] =>
      routed.find(({ netns }) => netns === `vg-two-${box}`)?.lines ?? [];
    expect(lines("host").filter((line) => line.includes("br0"))).toEqual([]);
    for (const [box, ports] of [
      ["host", ["vif1.0", "vif3.0"]],
      ["host2", ["vif2.0"]],
    ] as const)
      expect(lines(box).flatMap((line) => /^link add (vif\S+)/.exec(line)?.[1] ?? [])).toEqual(ports);
  });
  test("links have right-hand ends in both families, and everybody but their own host has a route to them", () => {
    const topology = planLab({ name: "two", guests: 3, nic: "veth", wiring: "transport", hosts: 2 });
    for (const guest of topology.guests) {
      expect(link4At(guest.address, 31).right).toBe(guest.address);
      expect(link6At(globalOf(guest)).right).toBe(globalOf(guest));
      expect(prefix6Contains(LAB_POOL6, globalOf(guest))).toBe(true);
    }
    for (const party of [topology.gateway, topology.neighbour, ...topology.hosts])
      expect(prefix6Contains(LAB_POOL6, globalOf(party))).toBe(false);
    expect(linkRoutes(topology, "host")).toEqual([
      "route add 192.0.2.3/32 via 203.0.113.4 dev eth0",
      "route add 2001:db8:66:0:fc00:c0ff:fe00:203/128 via 2001:db8:66::4 dev eth0",
    ]);
    expect(linkRoutes(topology)).toHaveLength(6);
    expect(linkRoutes(planLab({ name: "two", guests: 3, nic: "veth", wiring: "routed" }))).toEqual([]);
  });
});
