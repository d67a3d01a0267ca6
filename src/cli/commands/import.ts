/** Site files out of what a platform already runs. */
import { GuardError } from "../../model/errors.ts";
import type { FoundGuest } from "../../platform/import.ts";
import type { Command, Input, Io } from "../command.ts";

const options = {
  network: { type: "string", value: "NAME", text: "the site's network of every NIC that --map does not name" },
  map: {
    type: "string",
    value: "BRIDGE=NAME",
    multiple: true,
    text: "the site's network of NICs in that bridge (or network of libvirt); nothing behind = leaves them out",
  },
} as const;

function wiresOf(input: Input): { named: ReadonlyMap<string, string>; otherwise: string | undefined } {
  const named = new Map<string, string>();
  for (const pair of input.options("map")) {
    const equals = pair.indexOf("=");
    if (equals < 1) throw new GuardError("USAGE", `--map '${pair}' is not BRIDGE=NAME`);
    named.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  return { named, otherwise: input.option("network") };
}

async function print(input: Input, io: Io, read: (source: string, text: string) => FoundGuest): Promise<number> {
  const { importedSite } = await import("../../platform/import.ts");
  const guests: FoundGuest[] = [];
  for (const path of input.rest("FILE")) guests.push(read(path, await io.readFile(path)));
  io.out(importedSite(guests, wiresOf(input)));
  return 0;
}

const details =
  "Prints guests with their names, MACs and addresses; write the networks yourself, then try 'vifguard plan'. Nothing is changed, no agent is needed.";

export const importCommands: readonly Command[] = [
  {
    name: "import libvirt",
    summary: "guests of a site file out of domains of libvirt",
    details,
    arguments: [{ name: "FILE", text: "what 'virsh dumpxml DOMAIN' printed", required: true, rest: true }],
    options,
    examples: [
      "virsh dumpxml web1 > web1.xml && vifguard import libvirt web1.xml --map br0=lan0 --map default= > guests.yaml",
    ],
    run: async (input, io) => print(input, io, (await import("../../platform/import.ts")).libvirtGuest),
  },
  {
    name: "import xen",
    summary: "guests of a site file out of domain configurations of xl",
    details,
    arguments: [{ name: "FILE", text: "such as /etc/xen/web1.cfg", required: true, rest: true }],
    options,
    examples: ["vifguard import xen /etc/xen/*.cfg --map xenbr0=lan0 > guests.yaml"],
    run: async (input, io) => print(input, io, (await import("../../platform/import.ts")).xenGuest),
  },
];
