/** Tracked flows in memory. */
import type { Conntrack, Flow } from "./conntrack.ts";

export interface MemoryConntrack extends Conntrack {
  /** What the first packet of a flow does; the flow that already has this tuple stays as it is. */
  track(tuple: Omit<Flow, "id">): void;
}

const tupleText = ({ zone, protocol, from, to, fromPort, toPort }: Omit<Flow, "id">): string =>
  [zone, protocol, from, fromPort, to, toPort].join(" ");

export function memoryConntrack(): MemoryConntrack {
  const flows = new Map<string, Flow>();
  let next = 1;
  return {
    track: (tuple) => {
      const text = tupleText(tuple);
      if (flows.has(text)) return;
      flows.set(text, { ...tuple, id: next });
      next += 1;
    },
    *flows(zone) {
      for (const flow of [...flows.values()]) if (flow.zone === zone) yield flow;
    },
    remove: (flow) => flows.get(tupleText(flow))?.id === flow.id && flows.delete(tupleText(flow)),
    close: () => undefined,
  };
}
