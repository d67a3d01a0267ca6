/** For guests without DHCP: their addresses as words of a kernel command line. */

import { type BootKind, bootKinds, cmdlineWords, renderCmdline } from "../../export/cmdline.ts";
import type { MacMatters } from "../../export/site.ts";
import { GuardError } from "../../model/errors.ts";
import { type InterfaceName, parseInterfaceName } from "../../model/names.ts";
import type { Command, Input } from "../command.ts";
import { nicNumber } from "../nic-option.ts";
import { formatOf, show } from "../output.ts";
import { siteFileOption, sourceOf } from "../site-source.ts";

function bootOf(input: Input): BootKind {
  const text = input.option("for");
  const kind = bootKinds.find((known) => known === text);
  if (kind !== undefined) return kind;
  throw new GuardError("USAGE", `--for: '${text}' is not one of ${bootKinds.join(", ")}`);
}

function nameInGuest(input: Input): InterfaceName | undefined {
  const text = input.option("interface");
  const name = text === undefined ? undefined : parseInterfaceName(text);
  if (text === undefined || name !== undefined) return name;
  throw new GuardError("USAGE", `--interface: '${text}' is no interface name`);
}

export const exportCmdlineCommand: Command = {
  name: "export cmdline",
  summary: "a guest's addresses for its kernel command line",
  details:
    "The kernel's own ip= for the first NIC (IPv4; kernels with CONFIG_IP_PNP and most initramfs know it), and vifguard.NIC=ADDRESS/LENGTH,GATEWAY for every NIC and family, which the script guest/vifguard-net reads.",
  arguments: [],
  options: {
    guest: { type: "string", value: "NAME", text: "the guest" },
    nic: { type: "string", value: "N", text: "only this NIC, counted from 0" },
    interface: { type: "string", value: "NAME", text: "what the guest calls it (default ethN)" },
    for: {
      type: "string",
      value: "KIND",
      default: "kernel",
      text: "kernel: the bare words; xen: a line of the domain's configuration; qemu: an option in a shell",
    },
    file: siteFileOption,
  },
  examples: ["vifguard export cmdline --guest web1", "vifguard export cmdline --guest web1 --for xen >>web1.cfg"],
  run: async (input, io) => {
    const format = formatOf(input);
    const kind = bootOf(input);
    const guest = input.option("guest");
    if (guest === undefined) throw new GuardError("USAGE", "--guest is missing");
    const [nic, name] = [nicNumber(input), nameInGuest(input)];
    // An IPv6 address may be made of the MAC; nothing else on the line is.
    const matters: MacMatters = ({ prefix6 }, { address6 }, names) =>
      names.guest === guest && prefix6 !== undefined && address6 === undefined;
    const site = await sourceOf(input, io, matters).read();
    const words = cmdlineWords(site, {
      guest,
      ...(nic === undefined ? {} : { nic }),
      ...(name === undefined ? {} : { interface: name }),
    });
    await show(io, format, { guest, words }, () => renderCmdline(words, kind));
    return 0;
  },
};
