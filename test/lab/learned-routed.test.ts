/** A relay on routed ports: host route and proxy entry come and go with the lease, and the guest is reached from the LAN by what it learned. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { getLease } from "../../src/lab/dhcp-client.ts";
import { getLease6 } from "../../src/lab/dhcp6-client.ts";
import { globalOf } from "../../src/lab/topology.ts";
import { type Served, serveDhcp } from "../support/dhcp-servers.ts";
import { eventually, guestAt, pings } from "../support/guarded-lab.ts";
import { type LearnedLab, raiseLearnedLab } from "../support/learned-lab.ts";

let stage: LearnedLab;
let server: Served;
beforeAll(async () => {
  stage = await raiseLearnedLab({ name: `lrt${process.pid.toString(36)}`, guests: 2, wiring: "routed" }, "relay");
  server = await serveDhcp(stage.lab, "kea", { box: "neighbour" });
});
afterAll(async () => {
  await server?.stop();
  await stage?.lab.down();
});

test("routes and proxy entries follow the lease; guests reach the LAN, it reaches them, and they each other", async () => {
  const { lab, client, guests } = stage;
  const [one, two] = [guestAt(guests, 0), guestAt(guests, 1)];
  const { neighbour } = lab.topology;
  const standing = async (): Promise<string> =>
    (await lab.must("host", ["ip", "route", "show", "proto", "118"])) +
    (await lab.must("host", ["ip", "neigh", "show", "proxy"]));
  expect(await standing()).not.toContain("203.0.113.5");
  const [first, second] = [await getLease(lab, one.box, "udhcpc"), await getLease(lab, two.box, "dhclient")];
  const wanted = [`${first} dev ${one.port}`, `${second} dev ${two.port}`, `${first} dev eth0`];
  const text = await standing();
  for (const line of wanted) expect(text).toContain(line);
  expect(await pings(lab, one.box, neighbour.address)).toBe(true);
  expect(await pings(lab, "neighbour", first)).toBe(true);
  expect(await pings(lab, one.box, second)).toBe(true);
  const { address } = await getLease6(lab, one.box, "dhclient");
  expect(await pings(lab, one.box, globalOf(neighbour))).toBe(true);
  expect(await pings(lab, "neighbour", address)).toBe(true);

  await client.releaseLease("lan0", first);
  expect(await eventually(async () => !(await standing()).includes(first))).toBe(true);
  expect(await standing(), "control").toContain(second);
  const once = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", first];
  expect((await lab.exec("neighbour", once)).status).not.toBe(0);
  expect(await pings(lab, "neighbour", second), "control").toBe(true);
});
