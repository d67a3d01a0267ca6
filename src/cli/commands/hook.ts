/** What hypervisors and container runtimes call when a NIC comes and goes; the small programs in hooks/ lead here. */
import type { Hook } from "../../platform/hook.ts";
import { clientFor } from "../agent-client.ts";
import type { Command, Input, Io } from "../command.ts";

async function hookOf(input: Input, io: Io, argument: string): Promise<Hook> {
  const { openHost } = await import("../../platform/host.ts");
  return {
    words: input.rest(argument),
    env: io.env,
    client: clientFor(input, io),
    host: openHost(),
    stdin: () => io.readFile("-"),
    say: (text) => io.err(`vifguard: ${text}\n`),
  };
}

interface HookSpec extends Omit<Command, "arguments" | "options" | "run"> {
  readonly words: string;
  run(hook: Hook): Promise<void>;
}

/** Any failure is told on standard error and by the status: that is how platforms hear it. */
function hookCommand({ words, run, ...spec }: HookSpec): Command {
  const [argument = "WORD"] = words.split(" ");
  return {
    ...spec,
    arguments: [{ name: argument, text: words, required: true, rest: true }],
    options: {},
    run: async (input, io) => {
      await run(await hookOf(input, io, argument));
      return 0;
    },
  };
}

export const hookCommands: readonly Command[] = [
  hookCommand({
    name: "hook xen",
    summary: "the vif script of xl: the vif is attached before the guest runs",
    details:
      "Called with XENBUS_PATH, vif and xenstore as libxl has them. The domain's name is the guest's, the MAC says which NIC. Failures stand in hotplug-error.",
    words: "WORD as libxl gives them: online|offline type_if=vif, add|remove type_if=tap",
    examples: ["XENBUS_PATH=backend/vif/1/0 vif=vif1.0 vifguard hook xen online type_if=vif"],
    run: async (hook) => (await import("../../platform/xen.ts")).xenHook(hook),
  }),
  hookCommand({
    name: "hook libvirt",
    summary: "libvirt's hook of the drivers qemu and lxc",
    details:
      "The domain's XML on standard input. A NIC is a guest's by its MAC; metadata of urn:vifguard names the guest and makes any other MAC an error.",
    words: "WORD as libvirt gives them: DOMAIN OPERATION SUB-OPERATION EXTRA",
    examples: ["virsh dumpxml web1 | vifguard hook libvirt web1 reconnect begin -"],
    run: async (hook) => (await import("../../platform/libvirt.ts")).libvirtHook(hook),
  }),
  hookCommand({
    name: "hook libvirt-watch",
    summary: "tells of what libvirt calls no hook for: hot-plug, and guests that were migrated here",
    details: "Runs until libvirtd ends; vifguard-libvirt.service starts it. Needs virsh.",
    words: "URI of the driver, such as qemu:///system",
    examples: ["vifguard hook libvirt-watch qemu:///system"],
    run: async (hook) => (await import("../../platform/libvirt-watch.ts")).libvirtWatch(hook),
  }),
  hookCommand({
    name: "hook qemu-up",
    summary: "QEMU's script=: the tap is attached before the guest starts",
    details: "The guest is VIFGUARD_GUEST (and VIFGUARD_NIC) of QEMU's environment, or NAME of a tap called tap-NAME.",
    words: "TAP",
    examples: ["VIFGUARD_GUEST=web1 vifguard hook qemu-up tap0"],
    run: async (hook) => (await import("../../platform/qemu.ts")).qemuUp(hook),
  }),
  hookCommand({
    name: "hook qemu-down",
    summary: "QEMU's downscript=: the tap is detached",
    words: "TAP",
    examples: ["vifguard hook qemu-down tap0"],
    run: async (hook) => (await import("../../platform/qemu.ts")).qemuDown(hook),
  }),
  hookCommand({
    name: "hook lxc",
    summary: "LXC's lxc.net.N.script.up and .down",
    details: "The container's name is the guest's. Both versions of LXC's hook arguments are understood.",
    words: "WORD as LXC gives them: veth BRIDGE PORT, or CONTAINER net up veth BRIDGE PORT",
    examples: ["vifguard hook lxc web1 net up veth br0 vif-web1"],
    run: async (hook) => (await import("../../platform/lxc.ts")).lxcHook(hook),
  }),
  hookCommand({
    name: "hook nspawn",
    summary: "ExecStartPost= of systemd-nspawn@.service: the container's veth pairs are attached",
    details: "The container's name is the guest's, or VIFGUARD_GUEST is. The container's end is given the guest's MAC.",
    words: "WORD as the unit says them: CONTAINER PID, the process of systemd-nspawn",
    examples: ["vifguard hook nspawn web1 4711"],
    run: async (hook) => (await import("../../platform/nspawn.ts")).nspawnHook(hook),
  }),
];
