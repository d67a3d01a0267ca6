/** For those who keep their own DHCP server: the site as its configuration. */
import { renderDhcpd4, renderDhcpd6 } from "../../export/dhcpd.ts";
import { renderDnsmasq } from "../../export/dnsmasq.ts";
import { renderKea4, renderKea6 } from "../../export/kea.ts";
import { type ServedLink, servedLinks, type Wanted } from "../../export/site.ts";
import { GuardError } from "../../model/errors.ts";
import { type InterfaceName, parseInterfaceName } from "../../model/names.ts";
import type { Command, Input, Io, OptionSpec } from "../command.ts";
import { exportFile, fileOptions } from "../export-file.ts";
import { sourceOf } from "../site-source.ts";

type Render = (links: readonly ServedLink[]) => string;

const serverOptions = {
  network: { type: "string", value: "NAME", multiple: true, text: "only this network" },
  interface: {
    type: "string",
    value: "[NETWORK=]NAME",
    multiple: true,
    text: "the server's interface towards the network, or towards all of them",
  },
  ...fileOptions,
} as const satisfies Record<string, OptionSpec>;

const familyOption = {
  family: { type: "string", value: "4|6", default: "4", text: "DHCP, or DHCPv6: a server and a file each" },
} as const satisfies Record<string, OptionSpec>;

function interfacesOf(words: readonly string[]): ReadonlyMap<string, InterfaceName> {
  const found = new Map<string, InterfaceName>();
  for (const word of words) {
    const at = word.indexOf("=");
    const name = parseInterfaceName(word.slice(at + 1));
    if (name === undefined) throw new GuardError("USAGE", `--interface: '${word}' names no interface`);
    found.set(at < 0 ? "" : word.slice(0, at), name);
  }
  return found;
}

async function exportServer(input: Input, io: Io, render: Render): Promise<number> {
  const wanted: Wanted = { networks: input.options("network"), interfaces: interfacesOf(input.options("interface")) };
  return exportFile(input, io, () => {
    const { read, stamp } = sourceOf(
      input,
      io,
      (_network, _nic, { network }) => wanted.networks.length === 0 || wanted.networks.includes(network),
    );
    return { stamp, text: async () => render(servedLinks(await read(), wanted)) };
  });
}

function familyOf(input: Input): 4 | 6 {
  const text = input.option("family");
  if (text === "4" || text === "6") return text === "4" ? 4 : 6;
  throw new GuardError("USAGE", `--family: '${text}' is neither 4 nor 6`);
}

const details =
  "A complete configuration: the networks, what they tell their guests, and one reservation for every NIC, sorted by address, so that a change of the site is a small difference. A client that is no guest gets nothing. docs/exports.md says what each server needs besides.";

const { interface: _, ...dhcpdOptions } = serverOptions;

export const exportDhcpdCommand: Command = {
  name: "export dhcpd",
  summary: "dhcpd.conf or dhcpd6.conf of ISC dhcpd",
  details: `${details} dhcpd is told its interfaces on its own command line.`,
  arguments: [],
  options: { ...dhcpdOptions, ...familyOption },
  examples: [
    "vifguard export dhcpd --network lan0 -o /etc/dhcp/dhcpd.conf",
    'vifguard export dhcpd -o /etc/dhcp/dhcpd.conf --watch --reload "systemctl restart isc-dhcp-server"',
  ],
  run: (input, io) => exportServer(input, io, familyOf(input) === 4 ? renderDhcpd4 : renderDhcpd6),
};

export const exportKeaCommand: Command = {
  name: "export kea",
  summary: "kea-dhcp4.conf or kea-dhcp6.conf of Kea",
  details,
  arguments: [],
  options: { ...serverOptions, ...familyOption },
  examples: [
    "vifguard export kea --network lan0 --interface eth1 -o /etc/kea/kea-dhcp4.conf",
    'vifguard export kea --family 6 --interface lan0=eth1 -o /etc/kea/kea-dhcp6.conf --watch --reload "systemctl reload kea-dhcp6-server"',
  ],
  run: (input, io) => exportServer(input, io, familyOf(input) === 4 ? renderKea4 : renderKea6),
};

export const exportDnsmasqCommand: Command = {
  name: "export dnsmasq",
  summary: "a configuration file of dnsmasq, both families in one",
  details,
  arguments: [],
  options: serverOptions,
  examples: [
    "vifguard export dnsmasq --network lan0 --interface eth1 -o /etc/vifguard-dnsmasq.conf",
    "vifguard export dnsmasq -f site.yaml",
  ],
  run: (input, io) => exportServer(input, io, renderDnsmasq),
};
