/** nf_tables messages: elements and port chains to bytes, dumps back to values (linux/netfilter/nf_tables.h). */

import {
  attributeMap,
  attributes,
  type Message,
  type MessageWriter,
  NLM_F,
  readBe32,
  readBe64,
  readString,
} from "./netlink-message.ts";
import type { Element, ElementLimit, Family, HeldElement, HeldPortChain, PortChain, SetRef } from "./nft.ts";

const SUBSYSTEM = 10 << 8;
export const NFT_MSG = {
  NEWTABLE: 0,
  GETTABLE: 1,
  NEWCHAIN: 3,
  GETCHAIN: 4,
  DELCHAIN: 5,
  NEWRULE: 6,
  GETRULE: 7,
  NEWSETELEM: 12,
  GETSETELEM: 13,
  DELSETELEM: 14,
  NEWGEN: 15,
} as const;
const NFNL_MSG_BATCH = { BEGIN: 16, END: 17 } as const;
const FAMILY: Record<Family, number> = { inet: 1, ip: 2, arp: 3, netdev: 5, bridge: 7 };
const HOOK = { ingress: 0, egress: 1 } as const;
const NF = { DROP: 0, ACCEPT: 1 } as const;
const NFT_JUMP = -3;
/** One message's nested list is limited by its 16-bit length. */
const LIST_BYTES = 60_000;
const LIMIT_BYTES = 76;
const CONNECTIONS_BYTES = 40;

const typeOf = (message: number): number => SUBSYSTEM | message;
export const messageOf = (type: number): number => type & 0xff;

/** nfgenmsg; the resource id is big-endian. */
function header(family: number, resource = 0): Uint8Array {
  return Uint8Array.of(family, 0, resource >> 8, resource & 255);
}

export function batchEdge(writer: MessageWriter, edge: keyof typeof NFNL_MSG_BATCH, sequence: number): void {
  writer.begin(NFNL_MSG_BATCH[edge], NLM_F.REQUEST, sequence, header(0, 10)).finish();
}

function writeData(writer: MessageWriter, type: number, value: Uint8Array): void {
  writer.nest(type, () => writer.attribute(1, value));
}

function writeElement(writer: MessageWriter, element: Element): void {
  // NFTA_LIST_ELEM; inside NFTA_SET_ELEM_KEY 1, _DATA 2, _TIMEOUT 4 (milliseconds), _KEY_END 10.
  writer.nest(1, () => {
    writeData(writer, 1, element.key);
    if (element.keyEnd !== undefined) writeData(writer, 10, element.keyEnd);
    if (element.data !== undefined) writeData(writer, 2, element.data);
    if (element.lapsesAfter !== undefined) writer.be64(4, BigInt(Math.ceil(element.lapsesAfter)));
    if (element.limit !== undefined) writeLimit(writer, element.limit);
    if (element.connections !== undefined) writeConnections(writer, element.connections);
  });
}

const LIMIT_TYPE = { packets: 0, bytes: 1 } as const;

/** NFTA_SET_ELEM_EXPR 7 with a `limit` expression: rate 1, unit 2 (seconds), burst 3, type 4, flags 5. */
function writeLimit(writer: MessageWriter, { unit, perSecond, burst }: ElementLimit): void {
  writer.nest(7, () => {
    writer.string(1, "limit");
    writer.nest(2, () => {
      writer.be64(1, BigInt(perSecond)).be64(2, 1n).be32(3, burst).be32(4, LIMIT_TYPE[unit]).be32(5, 0);
    });
  });
}

/** NFT_CONNLIMIT_F_INV. nft_connlimit.c breaks off while the count is above the limit; inverted it goes on only then, which is nft's `over`. */
const OVER = 1;

/** NFTA_SET_ELEM_EXPR 7 with a `connlimit` expression: count 1, flags 2. */
function writeConnections(writer: MessageWriter, connections: number): void {
  writer.nest(7, () => {
    writer.string(1, "connlimit");
    writer.nest(2, () => writer.be32(1, connections).be32(2, OVER));
  });
}

const bytesOf = (element: Element): number =>
  60 +
  element.key.length +
  (element.keyEnd?.length ?? 0) +
  (element.data?.length ?? 0) +
  (element.limit === undefined ? 0 : LIMIT_BYTES) +
  (element.connections === undefined ? 0 : CONNECTIONS_BYTES);

/** Splits a list so that each part fits one message. */
export function* portions(elements: readonly Element[]): Iterable<readonly Element[]> {
  let start = 0;
  let size = 0;
  for (const [i, element] of elements.entries()) {
    size += bytesOf(element);
    if (size > LIST_BYTES) {
      yield elements.slice(start, i);
      start = i;
      size = bytesOf(element);
    }
  }
  if (start < elements.length) yield elements.slice(start);
}

export function writeElements(
  writer: MessageWriter,
  op: "add" | "delete" | "get",
  flags: number,
  sequence: number,
  set: SetRef,
  elements: readonly Element[],
): void {
  const message = { add: NFT_MSG.NEWSETELEM, delete: NFT_MSG.DELSETELEM, get: NFT_MSG.GETSETELEM }[op];
  writer.begin(
    typeOf(message),
    NLM_F.REQUEST | flags | (op === "add" ? NLM_F.CREATE : 0),
    sequence,
    header(FAMILY[set.family]),
  );
  writer.string(1, set.table).string(2, set.set);
  if (elements.length > 0) {
    writer.nest(3, () => {
      for (const element of elements) writeElement(writer, element);
    });
  }
  writer.finish();
}

export function writeChain(writer: MessageWriter, flags: number, sequence: number, chain: PortChain): void {
  writer.begin(
    typeOf(NFT_MSG.NEWCHAIN),
    NLM_F.REQUEST | NLM_F.CREATE | NLM_F.EXCL | flags,
    sequence,
    header(FAMILY.netdev),
  );
  writer.string(1, chain.table).string(3, chain.chain);
  writer.nest(4, () => {
    writer.be32(1, HOOK[chain.hook]).be32(2, chain.priority);
    writer.nest(4, () => writer.string(1, chain.device));
  });
  writer.be32(5, NF.DROP).string(7, "filter").finish();
}

export function writeTable(
  writer: MessageWriter,
  flags: number,
  sequence: number,
  family: Family,
  table: string,
): void {
  writer.begin(typeOf(NFT_MSG.NEWTABLE), NLM_F.REQUEST | NLM_F.CREATE | flags, sequence, header(FAMILY[family]));
  writer.string(1, table).be32(2, 0).finish();
}

/** An ingress chain for all devices whose name begins so: NFTA_HOOK_DEVS (4) with NFTA_DEVICE_PREFIX (2), from Linux 6.17 on. */
export function writePrefixChain(
  writer: MessageWriter,
  flags: number,
  sequence: number,
  table: string,
  chain: string,
  prefix: string,
): void {
  writer.begin(typeOf(NFT_MSG.NEWCHAIN), NLM_F.REQUEST | NLM_F.CREATE | flags, sequence, header(FAMILY.netdev));
  writer.string(1, table).string(3, chain);
  writer.nest(4, () => {
    writer.be32(1, HOOK.ingress).be32(2, 0);
    writer.nest(4, () => writer.string(2, prefix));
  });
  writer.be32(5, NF.ACCEPT).string(7, "filter").finish();
}

/** The one rule of a port chain: an `immediate` verdict that jumps. */
export function writeJump(writer: MessageWriter, flags: number, sequence: number, chain: PortChain): void {
  writer.begin(
    typeOf(NFT_MSG.NEWRULE),
    NLM_F.REQUEST | NLM_F.CREATE | NLM_F.APPEND | flags,
    sequence,
    header(FAMILY.netdev),
  );
  writer.string(1, chain.table).string(2, chain.chain);
  writer.nest(4, () =>
    writer.nest(1, () => {
      writer.string(1, "immediate");
      writer.nest(2, () => {
        writer.be32(1, 0);
        writer.nest(2, () => writer.nest(2, () => writer.be32(1, NFT_JUMP).string(2, chain.target)));
      });
    }),
  );
  writer.finish();
}

export function writeChainRemoval(
  writer: MessageWriter,
  flags: number,
  sequence: number,
  chain: Pick<PortChain, "table" | "chain">,
): void {
  writer.begin(typeOf(NFT_MSG.DELCHAIN), NLM_F.REQUEST | flags, sequence, header(FAMILY.netdev));
  writer.string(1, chain.table).string(3, chain.chain).finish();
}

/** A GET of tables, of chains or of rules; `chain` narrows the latter two. */
export function writeGet(
  writer: MessageWriter,
  message: number,
  flags: number,
  sequence: number,
  family: Family,
  table?: string,
  chain?: string,
): void {
  writer.begin(typeOf(message), NLM_F.REQUEST | flags, sequence, header(FAMILY[family]));
  if (table !== undefined) writer.string(1, table);
  if (chain !== undefined) writer.string(message === NFT_MSG.GETRULE ? 2 : 3, chain);
  writer.finish();
}

const behindHeader = (message: Message): Uint8Array => message.body.subarray(4);

export function tableName(message: Message): string {
  return readString(attributeMap(behindHeader(message)).get(1));
}

function value(nest: Uint8Array | undefined): Uint8Array | undefined {
  return nest === undefined ? undefined : attributeMap(nest).get(1);
}

/** The data of an element's expression of this name: alone in EXPR (7) or in a list (EXPRESSIONS, 11). */
function expressionOf(
  fields: ReadonlyMap<number, Uint8Array>,
  name: string,
): ReadonlyMap<number, Uint8Array> | undefined {
  const list = fields.get(11);
  const candidates = [fields.get(7), ...(list === undefined ? [] : [...attributes(list)].map((a) => a.value))];
  for (const candidate of candidates) {
    if (candidate === undefined) continue;
    const expression = attributeMap(candidate);
    const data = expression.get(2);
    if (readString(expression.get(1)) === name && data !== undefined) return attributeMap(data);
  }
  return undefined;
}

function counterOf(fields: ReadonlyMap<number, Uint8Array>): { packets: bigint; bytes: bigint } {
  const counter = expressionOf(fields, "counter");
  return counter === undefined
    ? { packets: 0n, bytes: 0n }
    : { bytes: readBe64(counter.get(1)), packets: readBe64(counter.get(2)) };
}

function limitOf(fields: ReadonlyMap<number, Uint8Array>): { readonly limit?: ElementLimit } {
  const limit = expressionOf(fields, "limit");
  if (limit === undefined) return {};
  const unit = readBe32(limit.get(4)) === LIMIT_TYPE.bytes ? "bytes" : "packets";
  return { limit: { unit, perSecond: Number(readBe64(limit.get(1))), burst: readBe32(limit.get(3)) ?? 0 } };
}

/** One that is not inverted says the opposite, so it is none of ours. */
function connectionsOf(fields: ReadonlyMap<number, Uint8Array>): { readonly connections?: number } {
  const expression = expressionOf(fields, "connlimit");
  const connections = readBe32(expression?.get(1));
  return connections === undefined || readBe32(expression?.get(2)) !== OVER ? {} : { connections };
}

export function readElements(message: Message): readonly HeldElement[] {
  const list = attributeMap(behindHeader(message)).get(3);
  if (list === undefined) return [];
  return [...attributes(list)].flatMap(({ value: nest }) => {
    const fields = attributeMap(nest);
    const key = value(fields.get(1));
    if (key === undefined) return [];
    const keyEnd = value(fields.get(10));
    const data = value(fields.get(2));
    return [
      {
        key,
        ...(keyEnd === undefined ? {} : { keyEnd }),
        ...(data === undefined ? {} : { data }),
        ...limitOf(fields),
        ...connectionsOf(fields),
        ...counterOf(fields),
      },
    ];
  });
}

/** A base chain without its target, or undefined for other chains. */
export function readChain(message: Message): Omit<HeldPortChain, "target"> | undefined {
  const fields = attributeMap(behindHeader(message));
  const hook = fields.get(4);
  if (hook === undefined) return undefined;
  const hookFields = attributeMap(hook);
  const single = hookFields.get(3);
  const list = hookFields.get(4);
  const devices =
    list === undefined
      ? single === undefined
        ? []
        : [readString(single)]
      : [...attributes(list)].filter((a) => a.type === 1).map((a) => readString(a.value));
  return {
    chain: readString(fields.get(3)),
    hook: readBe32(hookFields.get(1)) === HOOK.egress ? "egress" : "ingress",
    devices,
    policy: readBe32(fields.get(5)) === NF.DROP ? "drop" : "accept",
  };
}

/** Which chain a rule belongs to, and where it jumps when it does nothing else. */
export function readJump(message: Message): { readonly chain: string; readonly target: string | undefined } {
  const fields = attributeMap(behindHeader(message));
  const expressions = [...attributes(fields.get(4) ?? new Uint8Array())];
  const [only] = expressions;
  const chain = readString(fields.get(2));
  if (only === undefined || expressions.length !== 1) return { chain, target: undefined };
  const expression = attributeMap(only.value);
  const data = attributeMap(expression.get(2) ?? new Uint8Array()).get(2);
  const verdict = data === undefined ? undefined : attributeMap(data).get(2);
  if (readString(expression.get(1)) !== "immediate" || verdict === undefined) return { chain, target: undefined };
  const code = attributeMap(verdict);
  return { chain, target: ((readBe32(code.get(1)) ?? 0) | 0) === NFT_JUMP ? readString(code.get(2)) : undefined };
}
