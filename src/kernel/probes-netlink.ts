/** Questions to a link by rtnetlink (linux/neighbour.h): an entry that is "used" is resolved by the kernel, which broadcasts the question at once. */
import { type MacAddress, macFromBytes } from "../model/mac.ts";
import { openNetlink } from "./netlink.ts";
import { attributeMap, type Message, MessageWriter, NLM_F } from "./netlink-message.ts";
import type { Probes } from "./probes.ts";

const NETLINK_ROUTE = 0;
const AF = { INET: 2, INET6: 10 } as const;
const RTM = { NEWNEIGH: 28, DELNEIGH: 29, GETNEIGH: 30 } as const;
const NDA = { DST: 1, LLADDR: 2 } as const;
const NUD = { NOARP: 0x40, PERMANENT: 0x80 } as const;
/** Resolve it now, as if a packet waited for it. */
const NTF_USE = 0x01;

/** ndmsg: family, padding, interface, state, flags, type. */
function header(address: Uint8Array, ifindex: number, flags: number): Uint8Array {
  const bytes = new Uint8Array(12);
  bytes[0] = address.length === 4 ? AF.INET : AF.INET6;
  new DataView(bytes.buffer).setInt32(4, ifindex, true);
  bytes[10] = flags;
  return bytes;
}

const stateOf = ({ body }: Message): number => (body[8] ?? 0) | ((body[9] ?? 0) << 8);

export function openProbes(): Probes {
  const socket = openNetlink({ protocol: NETLINK_ROUTE });
  const writer = new MessageWriter();

  function change(type: number, more: number, flags: number, ifindex: number, address: Uint8Array): boolean {
    const sequence = socket.nextSequence();
    writer.reset().begin(type, NLM_F.REQUEST | NLM_F.ACK | more, sequence, header(address, ifindex, flags));
    writer.attribute(NDA.DST, address).finish();
    return socket.transact(writer, sequence, sequence) === undefined;
  }

  function entry(ifindex: number, address: Uint8Array): Message | undefined {
    const { message } = socket.ask((w, sequence) =>
      w
        .begin(RTM.GETNEIGH, NLM_F.REQUEST | NLM_F.ACK, sequence, header(address, ifindex, 0))
        .attribute(NDA.DST, address)
        .finish(),
    );
    return message;
  }

  const isFixed = (found: Message): boolean => (stateOf(found) & (NUD.NOARP | NUD.PERMANENT)) !== 0;

  function forget(ifindex: number, address: Uint8Array): void {
    const found = entry(ifindex, address);
    if (found !== undefined && !isFixed(found)) change(RTM.DELNEIGH, 0, 0, ifindex, address);
  }

  return {
    ask: (ifindex, address) => {
      const found = entry(ifindex, address);
      if (found !== undefined && isFixed(found)) return false;
      if (found !== undefined) change(RTM.DELNEIGH, 0, 0, ifindex, address);
      return change(RTM.NEWNEIGH, NLM_F.CREATE, NTF_USE, ifindex, address);
    },
    answer: (ifindex, address): MacAddress | undefined => {
      const found = entry(ifindex, address);
      // Where nothing is asked for (a namespace without any address of its own has no table of local ones), the MAC is made up.
      const mac =
        found === undefined || isFixed(found) ? undefined : attributeMap(found.body.subarray(12)).get(NDA.LLADDR);
      return mac?.length === 6 ? macFromBytes(mac) : undefined;
    },
    forget,
    close: () => socket.close(),
  };
}
