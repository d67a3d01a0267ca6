/** Taps made before the virtual machine that opens them. */

import { GuardError } from "../../model/errors.ts";
import { clientFor } from "../agent-client.ts";
import type { Command } from "../command.ts";
import { nicNumber } from "../nic-option.ts";
import { clean, formatOf, show } from "../output.ts";

const createCommand: Command = {
  name: "tap create",
  summary: "make a tap and attach it: for Firecracker, cloud-hypervisor and QEMU with script=no",
  details:
    "Answers when the tap is guarded and up; give the virtual machine the MAC it shows. When attaching fails the tap is removed again. A tap that is there is kept, if it is as asked.",
  arguments: [{ name: "NAME", text: "the tap, with a guarded prefix such as tap", required: true }],
  options: {
    guest: { type: "string", value: "NAME", text: "the guest" },
    nic: { type: "string", value: "N", text: "which of its NICs (default: the first that has no port)" },
    owner: { type: "string", value: "USER", text: "who may open it (default: root)" },
    "vnet-hdr": { type: "boolean", text: "frames carry a virtio header: what virtio-net of every VMM wants" },
    "multi-queue": { type: "boolean", text: "more than one queue may be opened" },
  },
  examples: ["vifguard tap create tap-web1 --guest web1 --owner firecracker --vnet-hdr"],
  run: async (input, io) => {
    const format = formatOf(input);
    const { createTap } = await import("../../platform/tap.ts");
    const { openHost } = await import("../../platform/host.ts");
    const guest = input.option("guest");
    const nic = nicNumber(input);
    if (guest === undefined) throw new GuardError("USAGE", "--guest is missing: whose tap is it?");
    const port = await createTap(
      { host: openHost(), client: clientFor(input, io) },
      {
        name: input.argument("NAME"),
        guest,
        nic,
        owner: input.option("owner"),
        vnetHdr: input.flag("vnet-hdr"),
        multiQueue: input.flag("multi-queue"),
      },
    );
    await show(io, format, port, () => `${clean(port.port)}: ${clean(port.guest)} NIC ${port.nic}, mac=${port.mac}\n`);
    return 0;
  },
};

const deleteCommand: Command = {
  name: "tap delete",
  summary: "detach a tap and remove it",
  details: "A tap that is gone is fine. It is removed also when no agent answers, and then the status is not 0.",
  arguments: [{ name: "NAME", text: "the tap", required: true }],
  options: {},
  examples: ["vifguard tap delete tap-web1"],
  run: async (input, io) => {
    const format = formatOf(input);
    const { deleteTap } = await import("../../platform/tap.ts");
    const { openHost } = await import("../../platform/host.ts");
    const name = input.argument("NAME");
    const deleted = await deleteTap({ host: openHost(), client: clientFor(input, io) }, name);
    await show(io, format, { deleted }, () => `${clean(name)}: ${deleted ? "deleted" : "was not there"}\n`);
    return 0;
  },
};

export const tapCommands: readonly Command[] = [createCommand, deleteCommand];
