/** A netlink socket that stays open: requests with their answers, dumps, and events. */
import { GuardError } from "../model/errors.ts";
import { native, watchSocket } from "./native.ts";
import {
  ERRNO,
  errnoName,
  type Message,
  MessageWriter,
  messages,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  type Refusal,
  refusalOf,
} from "./netlink-message.ts";

const SOL_SOCKET = 1;
const SOL_NETLINK = 270;
const option = {
  SNDBUFFORCE: 32,
  RCVBUFFORCE: 33,
  SNDBUF: 7,
  RCVBUF: 8,
  CAP_ACK: 10,
  EXT_ACK: 11,
  ADD_MEMBERSHIP: 1,
  GET_STRICT_CHK: 12,
} as const;

export interface NetlinkSocket {
  readonly fd: number;
  readonly portId: number;
  nextSequence(): number;
  /** Sends everything written and waits for the answer to each message that asked for one. Answers the first refusal. */
  transact(writer: MessageWriter, first: number, last: number): Refusal | undefined;
  /** One dump; bodies are copies. Starts over when the kernel says that the table changed under it. */
  dump(write: (writer: MessageWriter, sequence: number) => void): {
    readonly refusal?: Refusal;
    readonly messages: readonly Message[];
  };
  /** One dump as it comes, for tables that other programs may fill: bodies are good only until the next step, and nothing starts over. */
  stream(write: (writer: MessageWriter, sequence: number) => void): Iterable<Message | Refusal>;
  /** One request with one answer. */
  ask(write: (writer: MessageWriter, sequence: number) => void): {
    readonly refusal?: Refusal;
    readonly message?: Message;
  };
  close(): void;
}

const MAX_MESSAGE = 1 << 20;
/** The kernel marks a dump that raced with a change; under a steady stream of changes the last one has to do. */
const DUMP_ATTEMPTS = 10;

export interface SocketOptions {
  readonly protocol: number;
  readonly groups?: readonly number[];
  readonly receiveBytes?: number;
  readonly sendBytes?: number;
}

export function openNetlink(options: SocketOptions): NetlinkSocket {
  const addon = native();
  // AF_NETLINK 16, SOCK_RAW 3.
  const fd = addon.open(16, 3, options.protocol);
  const portId = addon.bindNetlink(fd);
  const large = (force: number, plain: number, bytes: number): void => {
    if (addon.setOption(fd, SOL_SOCKET, force, bytes) < 0) addon.setOption(fd, SOL_SOCKET, plain, bytes);
  };
  large(option.RCVBUFFORCE, option.RCVBUF, options.receiveBytes ?? 8 << 20);
  large(option.SNDBUFFORCE, option.SNDBUF, options.sendBytes ?? 8 << 20);
  // Strict: a dump then honours the index and the attributes it is asked with, instead of telling everything.
  for (const name of [option.CAP_ACK, option.EXT_ACK, option.GET_STRICT_CHK]) addon.setOption(fd, SOL_NETLINK, name, 1);
  for (const group of options.groups ?? []) {
    const failed = addon.setOption(fd, SOL_NETLINK, option.ADD_MEMBERSHIP, group);
    if (failed < 0) throw new GuardError("KERNEL_REFUSED", `netlink group ${group}: ${errnoName(-failed)}`);
  }
  const buffer = new Uint8Array(MAX_MESSAGE);
  const writer = new MessageWriter();
  let sequence = 1;

  function nextSequence(): number {
    sequence = (sequence + 1) & 0x7fffffff;
    return sequence;
  }

  function receive(): Uint8Array {
    const length = addon.receive(fd, buffer, 1);
    if (length < 0) throw new GuardError("KERNEL_REFUSED", `netlink: ${errnoName(-length)}`);
    return buffer.subarray(0, length);
  }

  function send(from: MessageWriter): void {
    const done = addon.send(fd, from.buffer, from.length);
    if (done < 0) throw new GuardError("KERNEL_REFUSED", `netlink: ${errnoName(-done)} on ${from.length} bytes`);
  }

  /** The messages that answer any of these sequence numbers, as they come; those of abandoned requests are passed over. */
  function* answers(first: number, last: number): Generator<Message, never> {
    for (;;) {
      for (const message of messages(receive())) {
        if (message.sequence >= first && message.sequence <= last) yield message;
      }
    }
  }

  function transact(from: MessageWriter, first: number, last: number): Refusal | undefined {
    send(from);
    let refused: Refusal | undefined;
    for (const message of answers(first, last)) {
      if (message.type !== NLMSG_ERROR) continue;
      refused ??= refusalOf(message);
      // A batch that fails as a whole is answered at its first message only.
      if (message.sequence === last || (refused !== undefined && message.sequence === first)) return refused;
    }
    return refused;
  }

  function request(write: (writer: MessageWriter, sequence: number) => void): Generator<Message, never> {
    const wanted = nextSequence();
    writer.reset();
    write(writer, wanted);
    send(writer);
    return answers(wanted, wanted);
  }

  function collect(replies: Iterable<Message>): { refusal?: Refusal; messages: Message[]; interrupted: boolean } {
    const found: Message[] = [];
    let interrupted = false;
    for (const message of replies) {
      interrupted ||= (message.flags & NLM_F_DUMP_INTR) !== 0;
      if (message.type === NLMSG_DONE) break;
      const refusal = message.type === NLMSG_ERROR ? refusalOf(message) : undefined;
      if (refusal !== undefined) return { refusal, messages: found, interrupted };
      if (message.type !== NLMSG_ERROR) found.push({ ...message, body: message.body.slice() });
    }
    return { messages: found, interrupted };
  }

  function dump(write: (writer: MessageWriter, sequence: number) => void): {
    refusal?: Refusal;
    messages: readonly Message[];
  } {
    for (let attempt = 1; ; attempt += 1) {
      const result = collect(request(write));
      if (!result.interrupted || attempt === DUMP_ATTEMPTS) return result;
    }
  }

  function* stream(write: (writer: MessageWriter, sequence: number) => void): Iterable<Message | Refusal> {
    for (const message of request(write)) {
      if (message.type === NLMSG_DONE) return;
      const refusal = message.type === NLMSG_ERROR ? refusalOf(message) : undefined;
      if (refusal === undefined) yield message;
      else {
        yield refusal;
        return;
      }
    }
  }

  function ask(write: (writer: MessageWriter, sequence: number) => void): { refusal?: Refusal; message?: Message } {
    for (const message of request(write)) {
      if (message.type !== NLMSG_ERROR) return { message: { ...message, body: message.body.slice() } };
      const refusal = refusalOf(message);
      return refusal === undefined ? {} : { refusal };
    }
    return {};
  }

  return { fd, portId, nextSequence, transact, dump, stream, ask, close: () => addon.close(fd) };
}

/**
 * Hears the events of multicast groups. `lost` is called when the socket overflowed: what was missed must be read again.
 * @param heard gets a buffer of messages that is only good until it returns
 */
export function watchNetlink(
  options: SocketOptions,
  heard: (bytes: Uint8Array) => void,
  lost: () => void,
): { close(): void } {
  const socket = openNetlink(options);
  const buffer = new Uint8Array(1 << 18);
  const watch = watchSocket(socket.fd, (error) => {
    if (error < 0) lost();
    let length = native().receive(socket.fd, buffer, 0);
    while (length !== -ERRNO.EAGAIN) {
      if (length < 0) lost();
      else heard(buffer.subarray(0, length));
      length = native().receive(socket.fd, buffer, 0);
    }
  });
  return {
    close: () => {
      watch.close();
      socket.close();
    },
  };
}
