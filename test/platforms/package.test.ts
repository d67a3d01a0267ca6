/** What the packages carry, without installing them: everything the program needs, and nothing that is for developers only. Installed they are in test/platforms. */
import { mkdtemp, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { exec, must } from "../../src/lab/exec.ts";
import { patience } from "../../src/lab/patience.ts";

const tree = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp("/var/tmp/vifguard-package.");
  const timeoutMs = 150_000;
  await Promise.all([
    must([`${tree}/scripts/package-deb.sh`, "--version", "1.2.3~rc.1", folder], { timeoutMs }),
    must([`${tree}/scripts/package-npm.sh`, folder], { timeoutMs }),
  ]);
  await must([
    "sh",
    "-c",
    `cd ${folder} && dpkg-deb -R vifguard_1.2.3~rc.1_*.deb deb && mkdir npm && tar -C npm -xf vifguard-*.tgz`,
  ]);
}, patience(180_000));
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const sh = (text: string): Promise<string> => must(["sh", "-c", `cd ${folder} && ${text}`], { timeoutMs: 30_000 });
const developers = ["vitest", "typescript", "@biomejs", "fast-check"];

test("Debian: the program runs from where it is unpacked, with its own modules", async () => {
  expect(await sh("deb/usr/bin/vifguard --version")).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect(await sh("deb/usr/bin/vifguard lab attack --list")).toContain("arp");
  // Everything that a start of the agent loads; it ends at an option that no agent has.
  const agent = await exec([`${folder}/deb/usr/bin/vifguard`, "agent", "--without", "nothing"]);
  expect(agent.stderr).toContain('--without "nothing" is none of');
  const modules = await sh("ls deb/usr/lib/vifguard/node_modules");
  expect(modules).toContain("fastify\n");
  for (const name of developers) expect(modules).not.toContain(`${name}\n`);
});

test("Debian: control fields, configuration files, links and scripts", async () => {
  const control = await sh("cat deb/DEBIAN/control");
  expect(control).toMatch(/^Version: 1\.2\.3~rc\.1$/m);
  expect(control).toMatch(/^Depends: nodejs \(>= 20\.19\), nftables/m);
  expect(control).not.toMatch(/@[A-Z]+@/);
  expect(await sh("cat deb/DEBIAN/conffiles")).toBe("/etc/default/vifguard\n");
  await sh("for script in deb/DEBIAN/p* deb/usr/share/vifguard/hooks/*; do sh -n $script; done");
  await sh("cd deb && md5sum --quiet -c DEBIAN/md5sums");
  const hooks = (await sh(`ls ${tree}/hooks`)).trim().split("\n");
  expect((await sh("ls deb/usr/share/vifguard/hooks")).trim().split("\n")).toEqual(hooks);
  for (const link of ["etc/xen/scripts/vif-vifguard", "usr/lib/cni/vifguard-cni"]) {
    const target = (await sh(`readlink deb/${link}`)).trim();
    expect(hooks).toContain(target.split("/").at(-1));
  }
  expect(await sh("find deb -perm /022 ! -type l")).toBe("");
});

test("npm: what is installed is what was tested", async () => {
  const files = await sh("cd npm/package && find . -type f");
  for (const file of [
    "dist/main.js",
    "npm-shrinkwrap.json",
    "hooks/vif-vifguard",
    "guest/vifguard-net",
    "packaging/systemd/vifguard.service",
  ])
    expect(files).toContain(`./${file}\n`);
  expect(files).toMatch(/\.\/prebuilds\/linux-\w+-\w+\/vifguard\.node\n/);
  expect(files).not.toMatch(/\.test\.|\.d\.ts|\.map\n|node_modules/);
  expect(await sh(`cmp npm/package/npm-shrinkwrap.json ${tree}/package-lock.json && echo same`)).toBe("same\n");
});
