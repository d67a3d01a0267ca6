/** For routers that speak no routing protocol with the hosts: the routes to a host's guests, to be written into their configuration. */
import { type RouteFormat, type RoutesWish, renderRoutes, routeFormats, staticRoutes } from "../../export/routes.ts";
import { GuardError } from "../../model/errors.ts";
import { isIpv6, parseIp } from "../../model/ip-block.ts";
import { clientFor } from "../agent-client.ts";
import type { Command, Input } from "../command.ts";
import { exportFile, fileOptions } from "../export-file.ts";

const isFormat = (text: string | undefined): text is RouteFormat => routeFormats.some((format) => format === text);

function formatOf(input: Input): RouteFormat {
  const text = input.option("for");
  if (isFormat(text)) return text;
  throw new GuardError("USAGE", `--for: '${text}' is not one of ${routeFormats.join(", ")}`);
}

function viaOf(input: Input): RoutesWish["via"] {
  const all = input.options("via").map((text) => {
    const address = parseIp(text);
    if (address === undefined) throw new GuardError("USAGE", `--via: '${text}' is no address`);
    return address;
  });
  const sixes = all.filter(isIpv6).length;
  if (sixes > 1 || all.length - sixes > 1) throw new GuardError("USAGE", "--via: one address of each family");
  return all;
}

const { file: _, ...options } = fileOptions;

export const exportRoutesCommand: Command = {
  name: "export routes",
  summary: "static routes to this host's guests, for routers that are told by hand",
  details:
    "One route for every address and prefix of the guests of routed and transport networks that are attached to this host, with the host's own address on the uplink as the next hop; sorted by address. Guests that are attached nowhere are left out. docs/announcing.md says how routers are told without hands.",
  arguments: [],
  options: {
    for: {
      type: "string",
      value: "FORMAT",
      default: "ip",
      text: "ip (commands of iproute2), frr, bird, cisco or json",
    },
    network: { type: "string", value: "NAME", multiple: true, text: "only this network" },
    via: {
      type: "string",
      value: "ADDRESS",
      multiple: true,
      text: "the next hop, once for each family (default: the uplink's address)",
    },
    blackhole: { type: "boolean", text: "guests that are attached nowhere lead to nothing" },
    ...options,
  },
  examples: [
    "vifguard export routes",
    'vifguard export routes --for bird -o /etc/bird/guests.conf --watch --reload "birdc configure"',
  ],
  run: async (input, io) => {
    const [format, via] = [formatOf(input), viaOf(input)];
    const output = input.option("output");
    if (isFormat(output))
      throw new GuardError("USAGE", `-o names a file: say --for ${output} (a file of that name is ./${output})`);
    const wish: RoutesWish = { networks: input.options("network"), via, blackhole: input.flag("blackhole") };
    const client = clientFor(input, io);
    return exportFile(input, io, () => {
      const text = async (): Promise<string> => renderRoutes(staticRoutes(await client.routes(), wish), format);
      // The routes are what may change, and are asked for in one question.
      return { stamp: text, text };
    });
  },
};
