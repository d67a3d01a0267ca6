/**
 * Tracked flows of the running kernel over ctnetlink. Measured on Linux 6.18 with 100 000 flows in the zone: 280 ms to walk them (160 ms of it the kernel's),
 * 1 100 ms to remove each on the way; 29 ms when all of them are in another zone. The walk is synchronous: who must not be kept waiting pauses between its steps.
 */
import type { Conntrack, Flow } from "./conntrack.ts";
import { readFlow, writeDump, writeRemoval } from "./conntrack-codec.ts";
import { openNetlink } from "./netlink.ts";
import { ERRNO, MessageWriter, NLM_F, refusalError } from "./netlink-message.ts";

const NETLINK_NETFILTER = 12;

/** On a socket of its own: a walk that is given up half-way leaves a dump behind, and others may be asked for meanwhile. */
function* flowsOf(zone: number): Iterable<Flow> {
  const socket = openNetlink({ protocol: NETLINK_NETFILTER });
  try {
    const dump = socket.stream((writer, sequence) => writeDump(writer, sequence, zone));
    for (const message of dump) {
      if ("errno" in message) throw refusalError("reading tracked connections", message);
      const flow = readFlow(message, zone);
      if (flow !== undefined) yield flow;
    }
  } finally {
    socket.close();
  }
}

export function openConntrack(): Conntrack {
  const socket = openNetlink({ protocol: NETLINK_NETFILTER });
  const writer = new MessageWriter();
  return {
    flows: flowsOf,
    remove: (flow) => {
      const sequence = socket.nextSequence();
      writeRemoval(writer.reset(), NLM_F.ACK, sequence, flow);
      const refusal = socket.transact(writer, sequence, sequence);
      if (refusal !== undefined && refusal.errno !== ERRNO.ENOENT)
        throw refusalError(`forgetting the connection from ${flow.from} to ${flow.to}`, refusal);
      return refusal === undefined;
    },
    close: () => socket.close(),
  };
}
