/** Datagrams: the memory double and the kernel give the same answers. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Datagrams } from "../../src/kernel/datagrams.ts";
import { memoryDatagrams } from "../../src/kernel/datagrams-memory.ts";
import { openDatagrams } from "../../src/kernel/datagrams-socket.ts";
import { GuardError } from "../../src/model/errors.ts";
import { type IpAddress, parseIp } from "../../src/model/ip-block.ts";
import { ipBatch, ownNamespace } from "../support/namespace.ts";

ownNamespace("datagrams");

function ip(text: string): IpAddress {
  const address = parseIp(text);
  if (address === undefined) throw new TypeError(text);
  return address;
}

const worlds: readonly (readonly [string, () => Datagrams])[] = [
  ["memory", () => memoryDatagrams(["10.9.0.1", "10.9.0.2", "2001:db8:9::1"].map(ip))],
  [
    "kernel",
    () => {
      ipBatch([
        "link set lo up",
        "link add up0 type veth peer name far0",
        "address add 10.9.0.1/24 dev up0",
        "address add 10.9.0.2/24 dev up0",
        "address add 2001:db8:9::1/64 dev up0 nodad",
        "link set up0 up",
        "link set far0 up",
      ]);
      return openDatagrams();
    },
  ],
];

describe.each(worlds)("datagrams (%s)", (_, open) => {
  test("the host's own address on the way, one that it has not, and what is sent from one to the other", async () => {
    const datagrams = open();
    expect(await datagrams.sourceTo(ip("10.9.0.77"))).toBe("10.9.0.1");
    expect(await datagrams.sourceTo(ip("2001:db8:9::77"))).toBe("2001:db8:9::1");
    const heard: string[] = [];
    const one = await datagrams.open(ip("10.9.0.1"), 67, ({ from, bytes }) => heard.push(`${from} ${[...bytes]}`));
    const two = await datagrams.open(ip("10.9.0.2"), 67, () => undefined);
    two.send(ip("10.9.0.1"), 67, Uint8Array.of(1, 2, 3));
    for (let i = 0; i < 100 && heard.length === 0; i += 1) await sleep(10);
    expect(heard).toEqual(["10.9.0.2 1,2,3"]);
    await expect(datagrams.open(ip("10.9.0.99"), 67, () => undefined)).rejects.toThrow(GuardError);
    one.close();
    two.close();
    (await datagrams.open(ip("10.9.0.1"), 67, () => undefined)).close();
  });
});
