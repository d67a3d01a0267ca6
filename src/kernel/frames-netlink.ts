/** Frames of the running kernel: NFLOG in (linux/netfilter/nfnetlink_log.h), AF_PACKET out. */
import { GuardError } from "../model/errors.ts";
import type { Frames, LoggedFrame, OutgoingFrame } from "./frames.ts";
import { native, watchSocket } from "./native.ts";
import { openNetlink } from "./netlink.ts";
import { attributeMap, ERRNO, errnoName, MessageWriter, messages, NLM_F, readBe32 } from "./netlink-message.ts";

const NETLINK_NETFILTER = 12;
const NFULNL = { PACKET: (4 << 8) | 0, CONFIG: (4 << 8) | 1 } as const;
const NFULA = { MARK: 2, IFINDEX_INDEV: 4, IFINDEX_OUTDEV: 5, PAYLOAD: 9, HWTYPE: 15, HWHEADER: 16 } as const;
const NFULA_CFG = { CMD: 1, MODE: 2, QTHRESH: 5 } as const;
const COPY_PACKET = 2;
const NFPROTO_NETDEV = 5;
const ETHERNET = 14;
const SLOT = 4096;
const SLOTS = 64;
const SEND_MAX = 256;

/** SOCK_RAW of AF_PACKET, protocol 0: it sends and hears nothing. */
function openSender(mark: number): number {
  const fd = native().open(17, 3, 0);
  // SOL_SOCKET 1, SO_MARK 36. PACKET_QDISC_BYPASS would not do: since Linux 5.17 such frames pass the egress hook too, without a MAC header set.
  const failed = native().setOption(fd, 1, 36, mark);
  if (failed < 0) throw new GuardError("KERNEL_REFUSED", `SO_MARK: ${errnoName(-failed)}`);
  return fd;
}

function subscribeGroup(group: number): number {
  const socket = openNetlink({ protocol: NETLINK_NETFILTER });
  const writer = new MessageWriter();
  const header = Uint8Array.of(0, 0, group >> 8, group & 255);
  const configure = (attribute: (w: MessageWriter) => void): void => {
    const sequence = socket.nextSequence();
    writer.reset().begin(NFULNL.CONFIG, NLM_F.REQUEST | NLM_F.ACK, sequence, header);
    attribute(writer);
    writer.finish();
    const refusal = socket.transact(writer, sequence, sequence);
    if (refusal !== undefined) {
      socket.close();
      throw new GuardError(
        "KERNEL_REFUSED",
        `log group ${group}: ${errnoName(refusal.errno)}; another program may be listening to it`,
        { fields: { group } },
      );
    }
  };
  configure((w) => w.u8(NFULA_CFG.CMD, 1));
  configure((w) => w.attribute(NFULA_CFG.MODE, Uint8Array.of(0, 0, 0xff, 0xff, COPY_PACKET, 0)));
  configure((w) => w.be32(NFULA_CFG.QTHRESH, 1));
  return socket.fd;
}

/**
 * Header and payload come apart; here they are put together again. A VLAN tag that the kernel took off is not among what NFLOG hands over
 * in the netdev family (nfnetlink_log.c tells it for bridges only): such a frame comes without it.
 */
function wholeFrame(family: number, fields: ReadonlyMap<number, Uint8Array>): Uint8Array | undefined {
  // A frame that is nothing but its header has no payload to hand over.
  const payload = fields.get(NFULA.PAYLOAD) ?? new Uint8Array();
  // On egress the payload begins with the header itself.
  if (family === NFPROTO_NETDEV && fields.has(NFULA.IFINDEX_OUTDEV)) return payload.slice();
  const header = fields.get(NFULA.HWHEADER) ?? (family === NFPROTO_NETDEV ? undefined : headerOf(payload));
  if (header === undefined || header.length < ETHERNET) return undefined;
  const frame = new Uint8Array(ETHERNET + payload.length);
  frame.set(header.subarray(0, ETHERNET));
  frame.set(payload, ETHERNET);
  return frame;
}

/** An IP packet that the host itself forwards has no Ethernet header any more: one without addresses. */
function headerOf(packet: Uint8Array): Uint8Array {
  const header = new Uint8Array(ETHERNET);
  header.set((packet[0] ?? 0) >> 4 === 6 ? [0x86, 0xdd] : [0x08, 0x00], ETHERNET - 2);
  return header;
}

function readFrames(bytes: Uint8Array): readonly LoggedFrame[] {
  const frames: LoggedFrame[] = [];
  for (const { type, body } of messages(bytes)) {
    if (type !== NFULNL.PACKET) continue;
    const fields = attributeMap(body.subarray(4));
    const frame = wholeFrame(body[0] ?? 0, fields);
    if (frame === undefined) continue;
    frames.push({
      inIfindex: readBe32(fields.get(NFULA.IFINDEX_INDEV)) ?? 0,
      outIfindex: readBe32(fields.get(NFULA.IFINDEX_OUTDEV)) ?? 0,
      mark: readBe32(fields.get(NFULA.MARK)) ?? 0,
      bytes: frame,
    });
  }
  return frames;
}

/** @param mark packet mark of every frame sent: what the guard knows the responder's answers by */
export function openFrames(mark = 0): Frames {
  const addon = native();
  const sender = openSender(mark);
  let room = new Uint8Array(1 << 17);
  const table = new Uint32Array(3 * SEND_MAX);

  function subscribe(
    group: number,
    tell: (batch: readonly LoggedFrame[]) => void,
    lost: () => void,
  ): { close(): void } {
    const fd = subscribeGroup(group);
    const buffer = new Uint8Array(SLOT * SLOTS);
    const lengths = new Uint32Array(SLOTS);
    const receive = (): number => {
      const count = addon.receiveMany(fd, buffer, SLOT, lengths);
      const batch: LoggedFrame[] = [];
      for (let i = 0; i < count; i += 1)
        batch.push(...readFrames(buffer.subarray(i * SLOT, i * SLOT + (lengths[i] ?? 0))));
      if (batch.length > 0) tell(batch);
      return count;
    };
    const watch = watchSocket(fd, (error) => {
      if (error < 0) lost();
      // A full slot set means that there may be more; anything less that the socket is empty or had something to report.
      for (let count = SLOTS; count === SLOTS || count === -ERRNO.ENOBUFS; ) {
        count = receive();
        if (count === -ERRNO.ENOBUFS) lost();
      }
    });
    return {
      close: () => {
        watch.close();
        addon.close(fd);
      },
    };
  }

  function sendSome(frames: readonly OutgoingFrame[]): number {
    const total = frames.reduce((sum, { bytes }) => sum + bytes.length, 0);
    if (total > room.length) room = new Uint8Array(total);
    let at = 0;
    for (const [i, { ifindex, bytes }] of frames.entries()) {
      room.set(bytes, at);
      table.set([at, bytes.length, ifindex], 3 * i);
      at += bytes.length;
    }
    return addon.sendFrames(sender, room, table, frames.length);
  }

  return {
    subscribe,
    send: (frames) => {
      let taken = 0;
      for (let i = 0; i < frames.length; i += SEND_MAX) taken += sendSome(frames.slice(i, i + SEND_MAX));
      return taken;
    },
    close: () => addon.close(sender),
  };
}
