/** DHCPv6 messages between clients and servers, and their options (RFC 8415 sections 8 and 21). Relay messages have another shape and are refused. */
import type { Codec, Decoded } from "./codec.ts";
import { createReader } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface Dhcp6Option {
  readonly code: number;
  /** A view of the bytes read. */
  readonly body: Uint8Array;
}

export interface Dhcp6Message {
  readonly type: number;
  /** 24 bits. */
  readonly transactionId: number;
  /** In the order they stand; several of one code are allowed. */
  readonly options: readonly Dhcp6Option[];
}

/** RFC 8415 section 7.3. */
export const dhcp6Types = {
  solicit: 1,
  advertise: 2,
  request: 3,
  confirm: 4,
  renew: 5,
  rebind: 6,
  reply: 7,
  release: 8,
  decline: 9,
  reconfigure: 10,
  informationRequest: 11,
  relayForward: 12,
  relayReply: 13,
} as const;

/** RFC 8415 section 21, RFC 3646, RFC 4075, RFC 4704, RFC 5908, RFC 5970. */
export const dhcp6Codes = {
  clientId: 1,
  serverId: 2,
  iaNa: 3,
  iaTa: 4,
  iaAddress: 5,
  optionRequest: 6,
  preference: 7,
  statusCode: 13,
  rapidCommit: 14,
  userClass: 15,
  vendorClass: 16,
  dnsServers: 23,
  domainList: 24,
  iaPd: 25,
  sntpServers: 31,
  clientFqdn: 39,
  ntpServer: 56,
  bootfileUrl: 59,
  clientArchitecture: 61,
} as const;

/** RFC 8415 section 21.13. */
export const dhcp6Status = { success: 0, noAddresses: 2, noBinding: 3, notOnLink: 4, noPrefixes: 6 } as const;

/** Options as they stand in a message or inside another option. */
export function readDhcp6Options(bytes: Uint8Array): Decoded<readonly Dhcp6Option[]> {
  const options: Dhcp6Option[] = [];
  let at = 0;
  while (at < bytes.length) {
    const reader = createReader(bytes.subarray(at));
    const code = reader.u16();
    const body = reader.bytes(reader.u16());
    if (reader.truncated) return { ok: false, why: "truncated" };
    options.push({ code, body });
    at += 4 + body.length;
  }
  return { ok: true, value: options };
}

export function writeDhcp6Options(options: readonly Dhcp6Option[]): Uint8Array {
  const writer = createWriter();
  for (const { code, body } of options) writer.u16(code).u16(body.length).bytes(body);
  return writer.done();
}

const isRelay = (type: number): boolean => type === dhcp6Types.relayForward || type === dhcp6Types.relayReply;

export const dhcp6Codec: Codec<Dhcp6Message> = {
  name: "dhcp6",
  decode: (bytes) => {
    const reader = createReader(bytes);
    const head = reader.u32();
    if (reader.truncated) return { ok: false, why: "truncated" };
    const type = head >>> 24;
    if (isRelay(type)) return { ok: false, why: "unsupported" };
    const options = readDhcp6Options(reader.rest());
    return options.ok
      ? { ok: true, value: { type, transactionId: head & 0xff_ffff, options: options.value } }
      : options;
  },
  encode: ({ type, transactionId, options }) =>
    createWriter()
      .u32(((type << 24) | transactionId) >>> 0)
      .bytes(writeDhcp6Options(options))
      .done(),
};

/** DNS names without compression (RFC 8415 section 10). */
export function writeDnsNames(names: readonly string[]): Uint8Array {
  const writer = createWriter();
  for (const name of names) {
    for (const label of name.split(".").filter((part) => part !== "")) {
      const bytes = new TextEncoder().encode(label);
      writer.u8(bytes.length).bytes(bytes);
    }
    writer.u8(0);
  }
  return writer.done();
}
