/** UDP sockets of the running kernel. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { GuardError } from "../model/errors.ts";
import { type IpAddress, isIpv6, parseIp } from "../model/ip-block.ts";
import type { Datagrams } from "./datagrams.ts";

const typeOf = (address: IpAddress): "udp4" | "udp6" => (isIpv6(address) ? "udp6" : "udp4");

/** DISCARD (RFC 863): nothing is ever sent there, but a way is looked for. */
const NOWHERE = 9;

async function sourceTo(other: IpAddress): Promise<IpAddress | undefined> {
  const socket = createSocket(typeOf(other));
  try {
    socket.connect(NOWHERE, other);
    await once(socket, "connect");
    return parseIp(socket.address().address);
  } catch {
    return undefined;
  } finally {
    socket.close();
  }
}

async function bound(address: IpAddress, port: number): Promise<Socket> {
  // Another DHCP server of this host may have the port on all addresses: the one that names its address hears what is for it (udp.c, compute_score).
  const socket = createSocket({
    type: typeOf(address),
    reuseAddr: true,
    ...(isIpv6(address) ? { ipv6Only: true } : {}),
  });
  try {
    socket.bind({ address, port, exclusive: true });
    await once(socket, "listening");
    return socket;
  } catch (cause) {
    const says = cause instanceof Error ? cause.message : String(cause);
    throw new GuardError("KERNEL_REFUSED", `UDP port ${port} of ${address}: ${says}`, { cause });
  }
}

export const openDatagrams = (): Datagrams => ({
  sourceTo,
  open: async (address, port, received) => {
    const socket = await bound(address, port);
    socket.on("message", (bytes, { address: text }) => {
      const from = parseIp(text);
      if (from !== undefined) received({ from, bytes: Uint8Array.from(bytes) });
    });
    // What went wrong with one datagram (a server that is not there) is no reason to stop hearing others.
    socket.on("error", () => undefined);
    return {
      send: (to, toPort, bytes) => socket.send(bytes, toPort, to, () => undefined),
      close: () => {
        socket.close();
      },
    };
  },
});
