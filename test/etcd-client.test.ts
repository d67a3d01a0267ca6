/** The client of etcd where members come and go faster than connections are made. */
import { createServer } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { CallFailed, createEtcdClient } from "../src/store/etcd-client.ts";

test("a connection that is thrown away at any moment of its making throws nothing at the agent", async () => {
  const server = createServer();
  let sessions = 0;
  server.on("session", () => {
    sessions += 1;
  });
  // Answers nothing, at once; what becomes of its own end of a stream is not looked at.
  server.on("stream", (stream) => {
    stream.on("error", () => undefined);
    if (!stream.destroyed) stream.respond({ ":status": 200 }, { endStream: true });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const uncaught: unknown[] = [];
  const note = (error: unknown): void => void uncaught.push(error);
  const before = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", note);
  try {
    const client = createEtcdClient({ endpoints: [`http://127.0.0.1:${port}`] });
    for (let turns = 0; turns < 40; turns += 1) {
      const called = client.call("KV/Range", []).catch((cause: unknown) => cause);
      for (let turn = 0; turn < turns % 8; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
      client.turn(client.turns);
      expect(await called).toBeInstanceOf(CallFailed);
    }
    client.close();
    await sleep(20);
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of before) process.on("uncaughtException", listener);
    server.close();
  }
  expect(sessions, "control: some were made").toBeGreaterThan(0);
  expect(uncaught).toEqual([]);
});
