/** The gate before a store that may be restored: how long what it has heard of a store that is away holds. */
import { expect, test } from "vitest";
import { GuardError } from "../src/model/errors.ts";
import { createCopy } from "../src/store/fleet.ts";
import { memoryStore } from "../src/store/memory.ts";
import { restoreGate } from "../src/store/restore-gate.ts";
import type { Place, Store } from "../src/store/store.ts";
import { codeOf } from "./store.contract.ts";
import { clock } from "./support/memory-agent.ts";

test("a store that is away is not asked by every part that is read, and asked again as soon as it has answered anybody", async () => {
  const [memory, fleet] = [memoryStore(clock), memoryStore(clock)];
  let isAway = true;
  let asked = 0;
  const remote: Store = {
    ...fleet,
    read: async (place: Place) => {
      asked += 1;
      if (isAway) throw new GuardError("STORE_UNAVAILABLE", "cut off for the test");
      return fleet.read(place);
    },
  };
  const gate = restoreGate({
    remote,
    host: "a",
    isOpen: () => false,
    memory,
    before: createCopy(memory, 1),
    settle: async () => undefined,
    health: () => undefined,
  });
  const read = (place: Place): Promise<string> => codeOf(() => gate.store.read(place));
  expect([await read("network/"), await read("group/"), asked]).toEqual(["STORE_UNAVAILABLE", "STORE_UNAVAILABLE", 1]);
  isAway = false;
  expect([await read("network/"), asked], "control: what was heard holds").toEqual(["STORE_UNAVAILABLE", 1]);
  gate.answered();
  expect(await read("network/")).not.toBe("STORE_UNAVAILABLE");
  expect(asked).toBeGreaterThan(1);
  await gate.store.close();
});
