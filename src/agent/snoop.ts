/** Servers on the LAN: what a guest asks goes out of the bridge as it came in by the port, and what they answer is taken off before it reaches the port. */
import { messageIn4 } from "../addressing/dhcp4-frames.ts";
import { messageIn6 } from "../addressing/dhcp6-frames.ts";
import type { Refusal } from "../addressing/learn4.ts";
import type { Frames, LoggedFrame } from "../kernel/frames.ts";
import type { IpAddress } from "../model/ip-block.ts";
import { ipv4FromBytes } from "../model/ipv4.ts";
import { ipv6FromBytes } from "../model/ipv6.ts";
import { type MacAddress, macFromBytes } from "../model/mac.ts";
import type { SnoopAddressing } from "../model/resources.ts";
import type { Dhcp4Message } from "../packet/dhcp4-message.ts";
import type { Dhcp6Message } from "../packet/dhcp6.ts";
import { withUdpSum } from "../packet/udp-sum.ts";
import { logGroups } from "../ruleset/parts.ts";
import type { Learner } from "./bindings.ts";

interface SnoopParts {
  readonly frames: Frames;
  readonly learnerAt: (ifindex: number) => Learner | undefined;
  /** The bridge that the port is in; 0 for none. */
  readonly bridgeOf: (ifindex: number) => number;
  /** `frame` is what the guest is to get. */
  readonly answered4: (learner: Learner, message: Dhcp4Message, server: IpAddress, frame: Uint8Array) => void;
  readonly answered6: (learner: Learner, message: Dhcp6Message, server: IpAddress, frame: Uint8Array) => void;
  readonly refused: (why: Refusal) => void;
  readonly lost: () => void;
}

interface Snoop {
  /** @param frame the guest's, whole */
  ask(learner: Learner, frame: Uint8Array): void;
  close(): void;
}

const isIp6 = (frame: Uint8Array): boolean => frame[12] === 0x86 && frame[13] === 0xdd;

interface Sender {
  readonly address: IpAddress;
  readonly mac: MacAddress;
}

const senderOf = (frame: Uint8Array): Sender => ({
  address: isIp6(frame) ? ipv6FromBytes(frame, 22) : ipv4FromBytes(frame, 26),
  mac: macFromBytes(frame, 6),
});

/** The rules have asked the same; they may be those of a moment ago. */
function isServer({ servers, servers6 }: SnoopAddressing, { address, mac }: Sender): boolean {
  return [...servers, ...servers6].some(
    (server) => server.address === address && (server.mac === undefined || server.mac === mac),
  );
}

export function createSnoop(parts: SnoopParts): Snoop {
  const { frames, learnerAt, bridgeOf, refused } = parts;

  /** @returns why it is no answer to a guest */
  function take({ outIfindex, bytes }: LoggedFrame): Refusal | undefined {
    // Ethernet, the shorter IP header and UDP: below that no rule has seen a port.
    if (bytes.length < 42) return "malformed";
    const learner = learnerAt(outIfindex);
    if (learner?.spec.addressing.kind !== "snoop") return "other-port";
    const sender = senderOf(bytes);
    if (!isServer(learner.spec.addressing, sender)) return "other-server";
    return isIp6(bytes) ? take6(learner, sender, bytes) : take4(learner, sender, bytes);
  }

  function take4(learner: Learner, { address }: Sender, bytes: Uint8Array): Refusal | undefined {
    const read = messageIn4(bytes, 68);
    if (!read.ok) return "malformed";
    parts.answered4(learner, read.value, address, withUdpSum(bytes));
    return undefined;
  }

  function take6(learner: Learner, { address }: Sender, bytes: Uint8Array): Refusal | undefined {
    const read = messageIn6(bytes, "server");
    if (!read.ok) return "malformed";
    parts.answered6(learner, read.value.message, address, withUdpSum(bytes));
    return undefined;
  }

  function hear(batch: readonly LoggedFrame[]): void {
    for (const frame of batch) {
      const why = take(frame);
      if (why !== undefined) refused(why);
    }
  }

  const subscription = frames.subscribe(logGroups.leases, hear, parts.lost);
  return {
    ask: ({ attachment }, frame) => {
      const bridge = bridgeOf(attachment.ifindex);
      if (bridge !== 0) frames.send([{ ifindex: bridge, bytes: withUdpSum(frame) }]);
    },
    close: subscription.close,
  };
}
