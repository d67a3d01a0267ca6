/**
 * Calls to etcd: gRPC over HTTP/2 to one member at a time, the next one when that fails. Own code because the npm clients are out of care or fifteen
 * megabytes for five calls (docs/decisions.md).
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from "node:http2";
import type { SecureContextOptions } from "node:tls";
import { authenticate, tokenOf } from "./etcd-messages.ts";
import { decode, encode, type Fields, type Message } from "./protobuf.ts";

export interface EtcdAccess {
  /** `http://` or `https://`, host and port. */
  readonly endpoints: readonly string[];
  /** Authority of the servers, certificate and key of this client, as PEM. */
  readonly tls?: Pick<SecureContextOptions, "ca" | "cert" | "key">;
  readonly user?: { readonly name: string; readonly password: string };
}

/** How a call ended, as gRPC has it (grpc/doc/statuscodes.md); `unreachable` when no status came. */
export class CallFailed extends Error {
  readonly status: number | "unreachable";
  constructor(status: number | "unreachable", message: string) {
    super(message);
    this.name = "CallFailed";
    this.status = status;
  }
}

const UNAVAILABLE = 14;
const DEADLINE_EXCEEDED = 4;
const UNAUTHENTICATED = 16;
const INVALID_ARGUMENT = 3;
const UNKNOWN = 2;

/** Whether the same call may go well elsewhere or later. Nothing is known of what became of it. */
export const mayPass = ({ status, message }: CallFailed): boolean =>
  status === "unreachable" ||
  status === UNAVAILABLE ||
  status === DEADLINE_EXCEEDED ||
  // How etcd 3.4 says that its leader went while it waited, or that there is none.
  (status === UNKNOWN && /leader|timed out|deadline exceeded/.test(message));

const isTokenOld = ({ status, message }: CallFailed): boolean =>
  status === UNAUTHENTICATED || (status === INVALID_ARGUMENT && /auth token|user name is empty/.test(message));

/** In milliseconds. A member without a leader answers after seven seconds; another one may have one. */
const CALL_WITHIN = 2_000;
const PING_EVERY = 5_000;
const PING_WITHIN = 3_000;
/** A page of a reading is whole on this host while the agent is busy with the one before. */
const WINDOW = 4 * 1024 * 1024;

export interface EtcdStream {
  readonly messages: AsyncIterable<Fields>;
  /** Without effect when it has ended. */
  send(message: Message): void;
  close(): void;
}

export interface EtcdClient {
  /** One question to the member in use, one answer. @throws CallFailed */
  call(method: string, message: Message): Promise<Fields>;
  /** @throws CallFailed, also from its messages */
  stream(method: string): Promise<EtcdStream>;
  /** Grows with every turn. */
  readonly turns: number;
  /** The next call goes to another member, unless somebody turned since. */
  turn(from: number): void;
  close(): void;
}

function framed(message: Message): Buffer {
  const body = encode(message);
  const frame = Buffer.alloc(5 + body.length);
  frame.writeUInt32BE(body.length, 1);
  frame.set(body, 5);
  return frame;
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const HEAD = 5;

/** Cuts what arrives into messages: a flag, four octets of length, the message (grpc/doc/PROTOCOL-HTTP2.md). */
function createCutter() {
  let parts: Uint8Array[] = [];
  let have = 0;
  let wanted = HEAD;
  return function* cut(chunk: Uint8Array): Generator<Fields> {
    parts.push(chunk);
    have += chunk.length;
    // Joined when a message is whole, not with every chunk: an answer may have megabytes.
    while (have >= wanted) {
      const whole = joined(parts, have);
      const end = HEAD + new DataView(whole.buffer).getUint32(1);
      parts = [whole];
      wanted = end;
      if (have < end) return;
      parts = [whole.subarray(end)];
      have -= end;
      wanted = HEAD;
      yield decode(whole.subarray(HEAD, end));
    }
  };
}

function failureOf(headers: IncomingHttpHeaders): CallFailed | undefined {
  const status = headers["grpc-status"];
  if (status === undefined || status === "0") return undefined;
  const message = headers["grpc-message"];
  return new CallFailed(Number(status), decodeURIComponent(typeof message === "string" ? message : ""));
}

/** A stream says that it was cancelled; what is wrong stands behind it. */
function whyOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return cause.cause instanceof Error ? cause.cause.message : cause.message;
}

const unreachable = (why: string): CallFailed => new CallFailed("unreachable", why);

/** A pass over a large site takes seconds, and what came meanwhile lies in the socket: the loop reads it between its timers and its immediates. */
function heardOut(act: () => void): void {
  setImmediate(act);
}

/** Messages as they come; ends with the stream, throws when it ended badly. */
async function* messagesOf(stream: ClientHttp2Stream): AsyncGenerator<Fields> {
  let failure: CallFailed | undefined;
  const note = (headers: IncomingHttpHeaders): void => {
    failure = failureOf(headers) ?? failure;
  };
  stream.on("response", note);
  stream.on("trailers", note);
  const cut = createCutter();
  try {
    for await (const chunk of stream) yield* cut(chunk);
  } catch (cause) {
    throw cause instanceof CallFailed ? cause : unreachable(whyOf(cause));
  }
  if (failure !== undefined) throw failure;
}

export function createEtcdClient({ endpoints, tls = {}, user }: EtcdAccess): EtcdClient {
  let turns = 0;
  let session: ClientHttp2Session | undefined;
  let token: Promise<string> | undefined;
  let lastFault = "";

  const endpoint = (): string => endpoints[turns % endpoints.length] ?? "";

  /**
   * Never from within what the session itself has just told: Node 20 then frees streams that nghttp2 is still reading (use after free in nghttp2_session_mem_recv2,
   * seen with 20.20 as a corrupted heap when a member was killed).
   */
  function drop(): void {
    const old = session;
    setImmediate(() => old?.destroy());
    session = undefined;
    token = undefined;
  }

  /** A member that went silent is found out though nothing was asked of it: a watch must not wait for it for ever. */
  function watchOver(one: ClientHttp2Session): void {
    let answered = true;
    // Of a clock that never jumps: with the host's own set back, nothing would be asked until it has caught up.
    let asked = performance.now() - PING_EVERY;
    const look = (): void => {
      // One that never came to be connected closes without telling.
      if (one.destroyed) clearInterval(timer);
      else if (!answered && performance.now() - asked > PING_WITHIN) one.destroy(new Error("it does not answer"));
      else if (answered && !one.connecting && performance.now() - asked >= PING_EVERY) {
        answered = false;
        asked = performance.now();
        one.ping(() => {
          answered = true;
        });
      }
    };
    const timer = setInterval(() => heardOut(look), 1_000).unref();
  }

  function open(): ClientHttp2Session {
    if (session !== undefined && !session.closed && !session.destroyed) return session;
    token = undefined;
    const made = connect(endpoint(), { ...tls, settings: { initialWindowSize: WINDOW } });
    // The stream's window is no use without the connection's, which begins at 64 kB (RFC 9113 section 6.9.2).
    made.once("connect", () => {
      // Told in a turn of its own: it may have been thrown away since.
      if (!made.destroyed) made.setLocalWindowSize(WINDOW);
    });
    made.on("error", (error: Error) => {
      lastFault = `${endpoint()}: ${error.message}`;
    });
    watchOver(made);
    made.unref();
    session = made;
    return made;
  }

  function request(method: string, bearer: string | undefined, within?: number): ClientHttp2Stream {
    const stream = open().request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: `/etcdserverpb.${method}`,
      "content-type": "application/grpc",
      te: "trailers",
      // A member that has no leader ends a stream rather than letting it wait (etcd clientv3 WithRequireLeader).
      hasleader: "true",
      ...(within === undefined ? {} : { "grpc-timeout": `${within}m` }),
      ...(bearer === undefined ? {} : { token: bearer }),
    });
    // Told by whoever reads the stream.
    stream.on("error", () => undefined);
    return stream;
  }

  async function first(method: string, message: Message, bearer: string | undefined): Promise<Fields> {
    const stream = request(method, bearer, CALL_WITHIN);
    const timer = setTimeout(() => heardOut(() => stream.destroy(new Error("it does not answer"))), CALL_WITHIN + 500);
    try {
      stream.end(framed(message));
      for await (const answer of messagesOf(stream)) return answer;
      throw unreachable(lastFault === "" ? `${endpoint()} gave no answer` : lastFault);
    } finally {
      clearTimeout(timer);
      stream.destroy();
    }
  }

  function bearer(): Promise<string> | undefined {
    if (user === undefined) return undefined;
    token ??= first("Auth/Authenticate", authenticate(user.name, user.password), undefined).then(tokenOf);
    token.catch(() => {
      token = undefined;
    });
    return token;
  }

  /** A token lives five minutes; a new one is asked for when it is too old. */
  async function withToken<T>(act: (bearer: string | undefined) => Promise<T>): Promise<T> {
    open();
    try {
      return await act(await bearer());
    } catch (cause) {
      if (user === undefined || !(cause instanceof CallFailed) || !isTokenOld(cause)) throw cause;
      token = undefined;
      return act(await bearer());
    }
  }

  return {
    call: (method, message) => withToken((sent) => first(method, message, sent)),
    stream: (method) =>
      withToken(async (sent) => {
        const stream = request(method, sent);
        const send = (message: Message): void => {
          if (!stream.destroyed && stream.writable) stream.write(framed(message));
        };
        return { messages: messagesOf(stream), send, close: () => stream.destroy() };
      }),
    get turns() {
      return turns;
    },
    turn: (from) => {
      if (from !== turns) return;
      drop();
      turns += 1;
    },
    close: drop,
  };
}
