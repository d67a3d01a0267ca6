/** A NIC with two ports, on the real kernel: taps have a carrier while a machine has them open, whether they are up or not, as a vif of Xen has one while its guest is connected. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, connect } from "../../src/api/client.ts";
import { startAgent } from "../../src/lab/guarded.ts";
import { type Lab, raiseLab } from "../../src/lab/raise.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { PORT_GATEWAY4 } from "../../src/model/wiring.ts";
import { applyText, eventually, guestAt, isSilent, killAgent, siteText } from "../support/guarded-lab.ts";

const source = new URL("../support/card.c", import.meta.url);
const [PORT, EMU] = ["vif7.0", "vif7.0-emu"];

describe.each(["bridged", "routed"] as const)("%s", (wiring) => {
  let lab: Lab;
  let client: Client;
  let guest: GuestBox;
  const host = (...words: readonly string[]): Promise<string> => lab.must("host", words);

  beforeAll(async () => {
    lab = await raiseLab({ name: `st${wiring.charAt(0)}${process.pid.toString(36)}`, guests: 1, nic: "veth", wiring });
    client = connect((await startAgent(lab)).socket);
    guest = guestAt(lab.topology.guests, 0);
    await applyText({ client }, siteText(lab.topology));
    await lab.must(guest.box, ["ip", "link", "del", "eth0"]);
    execFileSync("gcc", ["-O2", "-Wall", "-o", `${lab.directory}/card`, fileURLToPath(source)]);
    // As netback makes it: it is there before anybody is connected.
    await host("ip", "tuntap", "add", "dev", PORT, "mode", "tap");
  });
  afterAll(async () => {
    await lab?.down();
  });

  /** One card of the machine: it opens the tap, which comes into being with it if need be. */
  async function plug(tap: string, card: string): Promise<{ pull(): Promise<void> }> {
    const netns = `/run/netns/${lab.netns(guest.box)}`;
    const machine = await lab.start("host", [`${lab.directory}/card`, tap, netns, card], "machine.log");
    const isThere = async (): Promise<boolean> =>
      (await lab.exec(guest.box, ["ip", "link", "show", card])).status === 0;
    expect(await eventually(isThere)).toBe(true);
    await lab.must(guest.box, ["ip", "link", "set", card, "address", guest.mac, "up"]);
    return {
      pull: async () => {
        await machine.stop("SIGKILL");
      },
    };
  }

  /** The guest speaks by that card, whatever it did before. */
  async function reachesBy(card: string): Promise<boolean> {
    const { gateway4 } = lab.topology.guests4;
    const lines =
      wiring === "bridged"
        ? [`address replace ${guest.address}/24 dev ${card}`]
        : [
            `address replace ${guest.address}/32 dev ${card}`,
            `route replace ${PORT_GATEWAY4} dev ${card} scope link`,
            `route replace ${gateway4}/32 via ${PORT_GATEWAY4} dev ${card}`,
          ];
    for (const one of ["card0", "card1"]) await lab.exec(guest.box, ["ip", "address", "flush", "dev", one]);
    await lab.must(guest.box, ["ip", "-4", "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
    return !(await isSilent(lab, guest.box, gateway4));
  }

  /** What may pass is asked for again: what the agent answers waits up to two seconds for one that was killed. */
  const speaksBy = (card: string): Promise<boolean> => eventually(() => reachesBy(card), 5_000);

  const states = async (): Promise<readonly string[]> =>
    (await client.status()).ports.map(({ port, state }) => `${port} ${state}`);
  const serves = (port: string): Promise<boolean> =>
    eventually(async () => (await states()).includes(`${port} applied`), 5_000);
  const isUp = async (port: string): Promise<boolean> => (await host("ip", "-o", "link", "show", port)).includes(",UP");

  test("the emulated card serves until the driver connects, and again when it leaves; only one of the two is ever open", async () => {
    const emulated = await plug(EMU, "card0");
    await client.attach({ port: PORT, guest: guest.box });
    await client.attach({ port: EMU, guest: guest.box, standsInFor: PORT });
    expect(await states()).toEqual([`${PORT} standby`, `${EMU} applied`]);
    expect(await speaksBy("card0")).toBe(true);
    const asked = { direction: "from-guest", phrase: "arp request who-has gateway" } as const;
    expect((await client.explain({ target: guest.box, ...asked })).port, "the guest is asked for where it is").toBe(
      EMU,
    );
    const { frames } = await client.explain({ target: PORT, ...asked });
    expect(frames[0]?.sentence).toContain("port 'vif7.0-emu' stands in until the guest is connected here");
    let driver = await plug(PORT, "card1");
    expect(await serves(PORT)).toBe(true);
    expect([await isUp(PORT), await isUp(EMU)]).toEqual([true, false]);
    expect([await reachesBy("card0"), await speaksBy("card1")]).toEqual([false, true]);
    await host("ip", "link", "set", EMU, "up");
    expect([await reachesBy("card0"), await speaksBy("card1")], "set up by somebody else").toEqual([false, true]);
    await driver.pull();
    expect(await serves(EMU)).toBe(true);
    expect(await isUp(PORT)).toBe(false);
    expect(await speaksBy("card0")).toBe(true);
    await killAgent(lab);
    driver = await plug(PORT, "card1");
    expect([await reachesBy("card1"), await speaksBy("card0")], "without an agent").toEqual([false, true]);
    await emulated.pull();
    await startAgent(lab);
    expect(await serves(PORT)).toBe(true);
    expect(await speaksBy("card1")).toBe(true);
    expect(await states(), "unplugged while no agent ran").toEqual([`${PORT} applied`]);
    await driver.pull();
  });

  test("unplugged, the emulated card hands over at once, before the driver connects", async () => {
    const emulated = await plug(EMU, "card0");
    await client.attach({ port: EMU, guest: guest.box, standsInFor: PORT });
    expect(await speaksBy("card0")).toBe(true);
    await emulated.pull();
    expect(await serves(PORT)).toBe(true);
    const driver = await plug(PORT, "card1");
    expect(await speaksBy("card1")).toBe(true);
    await driver.pull();
    expect(await states()).toEqual([`${PORT} applied`]);
    await client.detach(PORT);
    expect(await states()).toEqual([]);
  });
});
