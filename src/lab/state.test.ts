/** State files as text: what was written is read again, and nothing else is believed. */
import { expect, test } from "vitest";
import { parseState } from "./state.ts";

const plain = { format: 1, name: "one", guests: 2, nic: "veth", createdAt: 5 };
const agent = { socket: "/run/x/s", stateDirectory: "/run/x/state", log: "/run/x/log" };

test.each([plain, { ...plain, nic: "tap" }, { ...plain, agent }])("%j is a state", (state) => {
  expect(parseState(JSON.stringify(state))).toEqual(state);
});

test.each([
  "",
  "{",
  "null",
  "[]",
  JSON.stringify({ ...plain, format: 2 }),
  JSON.stringify({ ...plain, name: "../x" }),
  JSON.stringify({ ...plain, guests: 0 }),
  JSON.stringify({ ...plain, nic: "e1000" }),
  JSON.stringify({ ...plain, agent: {} }),
])("%s is none", (text) => {
  expect(parseState(text)).toBeUndefined();
});
