/** What the DHCP responder has promised, and what other servers have given. */
import type { LeaseView } from "../../model/operations.ts";
import { clientFor } from "../agent-client.ts";
import type { Command } from "../command.ts";
import { type Column, clean, formatOf, show, span, table } from "../output.ts";

const columns: readonly Column<LeaseView>[] = [
  { title: "NETWORK", text: (row) => row.network },
  { title: "ADDRESS", text: (row) => row.address },
  { title: "GUEST", text: (row) => row.guest },
  { title: "NIC", text: (row) => String(row.nic) },
  { title: "MAC", text: (row) => row.mac },
  { title: "STATE", text: (row) => row.state },
  { title: "ENDS", text: (row) => (row.state === "bound" ? `in ${span(row.expiresAt - Date.now())}` : "-") },
  { title: "HOSTNAME", text: (row) => row.hostname ?? "-" },
  { title: "FROM", text: ({ learned }) => (learned === undefined ? "vifguard" : `${learned.server} (${learned.by})`) },
];

export const leaseListCommand: Command = {
  name: "lease list",
  summary: "DHCP leases",
  arguments: [],
  options: { network: { type: "string", value: "NAME", text: "only of this network" } },
  examples: ["vifguard lease list", "vifguard lease list --network lan0 -o json"],
  run: async (input, io) => {
    const format = formatOf(input);
    const network = input.option("network");
    const rows = await clientFor(input, io).leases(network === undefined ? {} : { network });
    await show(io, format, rows, () => table(rows, columns, "no leases"));
    return 0;
  },
};

export const leaseReleaseCommand: Command = {
  name: "lease release",
  summary: "end a lease; the address stays the guest's, unless another DHCP server gave it: then it is taken away",
  arguments: [
    { name: "NETWORK", text: "the network", required: true },
    { name: "ADDRESS", text: "the address", required: true },
  ],
  options: {},
  examples: ["vifguard lease release lan0 203.0.113.10"],
  run: async (input, io) => {
    const format = formatOf(input);
    const lease = await clientFor(input, io).releaseLease(input.argument("NETWORK"), input.argument("ADDRESS"));
    await show(io, format, lease, () => `${lease.address} of ${clean(lease.guest)}: ${lease.state}\n`);
    return 0;
  },
};
