/** The npm package as `npm install -g` leaves it: the command, its addon and its hooks work from there, with nothing of this tree. */
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../src/api/client.ts";
import { getLease } from "../../src/lab/dhcp-client.ts";
import { must } from "../../src/lab/exec.ts";
import { attachGuest } from "../../src/lab/guarded.ts";
import { patience } from "../../src/lab/patience.ts";
import { type Lab, raiseLab } from "../../src/lab/raise.ts";
import { eventually, guestAt, siteText } from "../support/guarded-lab.ts";
import { newFolder, removeFolder } from "./booted.ts";

let folder: string;
let lab: Lab;
beforeAll(async () => {
  folder = await newFolder();
  await must(["scripts/package-npm.sh", folder], { timeoutMs: 60_000 });
  // What npm has seen already is not fetched again.
  const install = `npm install --global --prefix ${folder}/prefix --prefer-offline --no-audit --no-fund --loglevel=error ${folder}/vifguard-*.tgz`;
  await must(["sh", "-c", install], { timeoutMs: 120_000 });
  lab = await raiseLab({ name: `npm${process.pid.toString(36)}`, guests: 1, nic: "veth" });
}, patience(200_000));
afterAll(async () => {
  await lab?.down();
  await removeFolder(folder);
});

const home = (): string => `${folder}/prefix/lib/node_modules/vifguard`;
const environment = (socket: string): Record<string, string> => ({
  PATH: `${folder}/prefix/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
  VIFGUARD_SOCKET: socket,
});

test("the agent, the command and a hook of the installed package guard a port", async () => {
  const socket = `${lab.directory}/agent.sock`;
  const env = environment(socket);
  await lab.start(
    "host",
    [`${folder}/prefix/bin/vifguard`, "agent", "--socket", socket, "--state-dir", `${lab.directory}/state`],
    "agent.log",
  );
  const agent = { socket, stateDirectory: `${lab.directory}/state`, log: `${lab.directory}/agent.log` };
  expect(
    await eventually(
      async () => (await lab.exec("host", ["vifguard", "status"], { env })).status === 0,
      patience(20_000),
    ),
  ).toBe(true);
  await lab.must("host", ["vifguard", "apply", "-f", "-"], { env, stdin: siteText(lab.topology) });
  const one = guestAt(lab.topology.guests, 0);
  await attachGuest(lab, agent, one);
  expect(await getLease(lab, one.box, "udhcpc")).toBe(one.address);
  await lab.must("host", [`${home()}/hooks/qemu-ifdown`, one.port], { env });
  expect((await connect(socket).status()).ports).toEqual([]);
  const refused = await lab.exec("host", [`${home()}/hooks/qemu-ifup`, one.port], { env });
  expect(refused.stderr).toContain(`whose port is '${one.port}'?`);
  await lab.must("host", [`${home()}/hooks/qemu-ifup`, one.port], { env: { ...env, VIFGUARD_GUEST: one.box } });
  expect((await connect(socket).status()).ports).toMatchObject([{ port: one.port, guest: one.box, state: "applied" }]);
});

test("it has what was tested: the modules of the lock file, none of the developers', and the units", () => {
  const modules = readdirSync(`${home()}/node_modules`);
  expect(modules).toContain("fastify");
  expect(modules).not.toContain("vitest");
  expect(modules).not.toContain("typescript");
  expect(readdirSync(`${home()}/packaging/systemd`)).toContain("vifguard.service");
});

test("where there is no addon for the machine, it is built from the package alone", async () => {
  await must(["rm", "-rf", `${home()}/prebuilds`]);
  const failed = await lab.exec("host", [`${folder}/prefix/bin/vifguard`, "agent", "--load-only"], {
    env: environment(""),
  });
  expect(failed.stderr).toContain("npm run build:native");
  await must(["npm", "--prefix", home(), "run", "--silent", "build:native"], { timeoutMs: 60_000 });
  await lab.must("host", [`${folder}/prefix/bin/vifguard`, "agent", "--load-only"], { env: environment("") });
});
