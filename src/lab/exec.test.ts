/** Child processes: status, output, time limits and the end of whole process groups. */
import { expect, test } from "vitest";
import { commandLine, exec, must, startPiped } from "./exec.ts";

test("gives status, both outputs and takes standard input", async () => {
  expect(await exec(["cat"], { stdin: "words\n" })).toMatchObject({ status: 0, stdout: "words\n", timedOut: false });
  const failed = await exec(["ls", "/does/not/exist"]);
  expect(failed.status).not.toBe(0);
  expect(failed.stderr).toContain("/does/not/exist");
});

test("no shell reads the arguments", async () => {
  expect((await exec(["printf", "%s", "$(id); `id` > /tmp/x"])).stdout).toBe("$(id); `id` > /tmp/x");
});

test("says which command failed, in its own words", async () => {
  await expect(must(["ls", "/does/not/exist"])).rejects.toMatchObject({
    code: "COMMAND_FAILED",
    message: expect.stringMatching(/^'ls \/does\/not\/exist': status 2: .*No such file/),
  });
  await expect(must(["vifguard-no-such-program"])).rejects.toMatchObject({ code: "COMMAND_FAILED" });
});

test("ends what takes too long, with its children", async () => {
  const started = performance.now();
  expect(await exec(["timeout", "30", "sleep", "30"], { timeoutMs: 150 })).toMatchObject({
    status: -1,
    timedOut: true,
  });
  await expect(must(["sleep", "30"], { timeoutMs: 100 })).rejects.toThrow("no end after 100 ms");
  expect(performance.now() - started).toBeLessThan(5_000);
});

test("stops what goes on, twice if need be", async () => {
  const running = await startPiped(["sleep", "30"]);
  expect(running.pid).toBeGreaterThan(1);
  expect(await running.stop()).toBe(-1);
  expect(await running.stop()).toBe(-1);
  await expect(startPiped(["vifguard-no-such-program"])).rejects.toMatchObject({ code: "COMMAND_FAILED" });
});

test("a namespace comes first on the command line", () => {
  expect(commandLine(["ping", "-c", "1"], "vg-x-gw")).toEqual(["ip", "netns", "exec", "vg-x-gw", "ping", "-c", "1"]);
  expect(commandLine(["ping"])).toEqual(["ping"]);
});
