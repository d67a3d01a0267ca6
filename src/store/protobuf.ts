/** As much of the Protocol Buffers wire format as etcd's messages need: varints and length-delimited fields (protobuf.dev/programming-guides/encoding). */

/** Numbers are int64 in etcd; revisions, lease numbers and seconds of ours stay below 2^53. */
export type Field = number | Uint8Array | string;
/** Field number and value; a field that is undefined is left out. Zero and empty are the default and left out by the writer's choice. */
export type Message = readonly (readonly [number: number, value: Field | undefined])[];

const VARINT = 0;
const DELIMITED = 2;
const text = new TextEncoder();

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  // Division, not shifts: those stop at 32 bits.
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  bytes.push(rest);
  return bytes;
}

export function encode(message: Message): Uint8Array {
  const parts: (readonly number[] | Uint8Array)[] = [];
  for (const [number, value] of message) {
    if (value === undefined) continue;
    if (typeof value === "number") parts.push(varint(number * 8 + VARINT), varint(value));
    else {
      const bytes = typeof value === "string" ? text.encode(value) : value;
      parts.push(varint(number * 8 + DELIMITED), varint(bytes.length), bytes);
    }
  }
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** What a message holds by field number; a field that is there more than once keeps them all, in order. */
export interface Fields {
  number(field: number): number;
  bytes(field: number): Uint8Array;
  string(field: number): string;
  all(field: number): readonly Uint8Array[];
  message(field: number): Fields;
}

const none: readonly Uint8Array[] = [];
const empty = new Uint8Array();
const utf8 = new TextDecoder();

/** @throws RangeError when it is no message */
export function decode(input: Uint8Array): Fields {
  const numbers = new Map<number, number>();
  const parts = new Map<number, Uint8Array[]>();
  let at = 0;

  function read(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = input[at];
      if (byte === undefined) throw new RangeError("a message that ends within a number");
      at += 1;
      value += (byte % 0x80) * scale;
      if (byte < 0x80) return value;
    }
  }
  function take(length: number): Uint8Array {
    if (at + length > input.length) throw new RangeError("a message that ends within a field");
    at += length;
    return input.subarray(at - length, at);
  }
  while (at < input.length) {
    const tag = read();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case VARINT:
        numbers.set(number, read());
        break;
      case DELIMITED: {
        const part = take(read());
        const known = parts.get(number);
        if (known === undefined) parts.set(number, [part]);
        else known.push(part);
        break;
      }
      // etcd has no others; a later version's are passed over.
      case 1:
        take(8);
        break;
      case 5:
        take(4);
        break;
      default:
        throw new RangeError(`a field of type ${tag % 8}`);
    }
  }
  const bytes = (field: number): Uint8Array => parts.get(field)?.at(-1) ?? empty;
  return {
    number: (field) => numbers.get(field) ?? 0,
    bytes,
    string: (field) => utf8.decode(bytes(field)),
    all: (field) => parts.get(field) ?? none,
    message: (field) => decode(bytes(field)),
  };
}
