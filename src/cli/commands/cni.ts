/** The CNI plugin: a container runtime is the caller, so everything is said in its words. */
import { connect } from "../../api/client.ts";
import { clientFor } from "../agent-client.ts";
import type { Command } from "../command.ts";

export const cniCommand: Command = {
  name: "cni",
  summary: "the CNI plugin (specification 1.1): asked by container runtimes, not by people",
  details:
    "Reads CNI_* from the environment and the network configuration from standard input; answers the result or the error as JSON. Installed as the program vifguard-cni where the runtime looks for plugins (docs/platforms/cni.md).",
  arguments: [],
  options: {},
  examples: ["CNI_COMMAND=VERSION vifguard cni < 10-vifguard.conf"],
  run: async (input, io) => {
    const { openHost } = await import("../../platform/host.ts");
    const { answerCni } = await import("../../platform/cni.ts");
    const stdin = await io.readFile("-");
    const reply = await answerCni(io.env, stdin, {
      host: openHost(),
      connect: (socket) => (socket === undefined ? clientFor(input, io) : connect(socket)),
    });
    io.out(reply.stdout);
    return reply.status;
  },
};
