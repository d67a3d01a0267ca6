/** The network between hosts and store, a switch of the lab's LAN box on which packets of single directions are dropped: a partition is loss, and nobody is told. */
import type { Lab } from "../../src/lab/raise.ts";
import { type Box, PLAIN_BRIDGE } from "../../src/lab/topology.ts";

export interface Cuts {
  /** Packets from one to the other are lost. */
  oneWay(from: readonly Box[], to: readonly Box[]): Promise<void>;
  /** In both directions. */
  between(one: readonly Box[], other: readonly Box[]): Promise<void>;
  heal(): Promise<void>;
}

/** RFC 1918; in no other box of the lab. */
const PREFIX = "10.99.0";

const isWired = (box: Box): boolean => box === "gw" || /^(?:host|etcd)/.test(box);

function wiredBoxes(lab: Lab): readonly Box[] {
  return lab.topology.boxes.filter(isWired);
}

export function managementOf(lab: Lab, box: Box): string {
  const index = wiredBoxes(lab).indexOf(box);
  if (index === -1) throw new TypeError(`${box} is not on that network`);
  return `${PREFIX}.${index + 1}`;
}

const portOf = (box: Box): string => `m-${box}`;

const RULES = `table bridge cuts {
  set lost { type ifname . ifname; }
  chain forward { type filter hook forward priority 0; iifname . oifname @lost drop; }
}
`;

export async function wireManagement(lab: Lab): Promise<Cuts> {
  const boxes = wiredBoxes(lab);
  const lines = boxes.flatMap((box) => [
    `link add ${portOf(box)} type veth peer name mgmt0 netns ${lab.netns(box)}`,
    `link set ${portOf(box)} master sw1 up`,
  ]);
  await lab.must("lan", ["ip", "-batch", "-"], {
    stdin: `link add sw1 ${PLAIN_BRIDGE}\n${lines.join("\n")}\nlink set sw1 up\n`,
  });
  for (const box of boxes) {
    const own = ["link set lo up", `address add ${managementOf(lab, box)}/24 dev mgmt0`, "link set mgmt0 up"];
    await lab.must(box, ["ip", "-batch", "-"], { stdin: `${own.join("\n")}\n` });
  }
  await lab.must("lan", ["nft", "-f", "-"], { stdin: RULES });
  const nft = (text: string): Promise<string> => lab.must("lan", ["nft", text]);
  const pairs = (from: readonly Box[], to: readonly Box[]): readonly string[] =>
    from.flatMap((one) => to.map((other) => `"${portOf(one)}" . "${portOf(other)}"`));
  const lose = async (elements: readonly string[]): Promise<void> => {
    if (elements.length > 0) await nft(`add element bridge cuts lost { ${elements.join(", ")} }`);
  };
  return {
    oneWay: (from, to) => lose(pairs(from, to)),
    between: (one, other) => lose([...pairs(one, other), ...pairs(other, one)]),
    heal: async () => void (await nft("flush set bridge cuts lost")),
  };
}
