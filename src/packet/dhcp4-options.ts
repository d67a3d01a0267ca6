/**
 * The DHCPv4 options we know: number, name, kind of value and where it is defined.
 * Values are those of whole options, joined over their repetitions (RFC 3396); every codec is total.
 */
import {
  type Ipv4Address,
  type Ipv4Prefix,
  ipv4FromBytes,
  ipv4FromNumber,
  ipv4ToBytes,
  ipv4ToNumber,
  netmask4,
  parsePrefix4,
  prefix4Bounds,
} from "../model/ipv4.ts";
import { unreachable } from "../model/never.ts";
import type { Codec, Decoded, Rejection } from "./codec.ts";
import { type DhcpType, dhcpTypes } from "./dhcp4-message.ts";

export interface Route4 {
  readonly to: Ipv4Prefix;
  readonly via: Ipv4Address;
}

const accepted = <T>(value: T): Decoded<T> => ({ ok: true, value });
const rejected = (why: Rejection): Decoded<never> => ({ ok: false, why });

function unsigned(name: string, size: 1 | 2 | 4): Codec<number> {
  return {
    name,
    decode: (bytes) =>
      bytes.length === size ? accepted(bytes.reduce((sum, byte) => sum * 256 + byte, 0)) : rejected("bad-length"),
    encode: (value) => Uint8Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** (size - 1 - i)) & 255),
  };
}
const unsigned8 = unsigned("unsigned8", 1);
const unsigned16 = unsigned("unsigned16", 2);
/** Seconds and T1/T2: 0xffffffff is infinity (RFC 2131 section 3.3). */
const unsigned32 = unsigned("unsigned32", 4);

const address: Codec<Ipv4Address> = {
  name: "address",
  decode: (bytes) => (bytes.length === 4 ? accepted(ipv4FromBytes(bytes)) : rejected("bad-length")),
  encode: ipv4ToBytes,
};

/** One address at least (RFC 2132 section 3.5). */
const addresses: Codec<readonly Ipv4Address[]> = {
  name: "addresses",
  decode: (bytes) => {
    if (bytes.length === 0 || bytes.length % 4 !== 0) return rejected("bad-length");
    return accepted(Array.from({ length: bytes.length / 4 }, (_, i) => ipv4FromBytes(bytes, i * 4)));
  },
  encode: (list) => Uint8Array.from(list.flatMap((one) => [...ipv4ToBytes(one)])),
};

/** Options whose content we pass on without a look. */
const opaque: Codec<Uint8Array> = {
  name: "opaque",
  decode: (bytes) => accepted(bytes.slice()),
  encode: (bytes) => bytes.slice(),
};

/** An option that says everything by being there. */
const flag: Codec<true> = {
  name: "flag",
  decode: (bytes) => (bytes.length === 0 ? accepted(true) : rejected("bad-length")),
  encode: () => new Uint8Array(0),
};

/**
 * NVT ASCII, printable only, so that what a guest calls itself is safe in a log.
 * Trailing zeros are taken off (RFC 2132 section 2); writing turns everything else into a question mark.
 */
const text: Codec<string> = {
  name: "text",
  decode: (bytes) => {
    let end = bytes.length;
    while (end > 0 && bytes[end - 1] === 0) end -= 1;
    if (end === 0) return rejected("bad-length");
    const said = bytes.subarray(0, end);
    if (!said.every((byte) => byte >= 0x20 && byte <= 0x7e)) return rejected("unsupported");
    return accepted(ascii(said));
  },
  encode: (value) =>
    Uint8Array.from(value, (char) => {
      const code = char.codePointAt(0) ?? 0;
      return code >= 0x20 && code <= 0x7e ? code : 0x3f;
    }),
};

function ascii(bytes: Uint8Array): string {
  let value = "";
  for (const byte of bytes) value += String.fromCharCode(byte);
  return value;
}

/** The numbers of the options a client wants, in its order of preference (RFC 2132 section 9.8). */
const numbers: Codec<readonly number[]> = {
  name: "numbers",
  decode: (bytes) => (bytes.length === 0 ? rejected("bad-length") : accepted([...bytes])),
  encode: (list) => Uint8Array.from(list),
};

const unsigned16List: Codec<readonly number[]> = {
  name: "unsigned16 list",
  decode: (bytes) => {
    if (bytes.length === 0 || bytes.length % 2 !== 0) return rejected("bad-length");
    return accepted(
      Array.from({ length: bytes.length / 2 }, (_, i) => (bytes[2 * i] ?? 0) * 256 + (bytes[2 * i + 1] ?? 0)),
    );
  },
  encode: (list) => Uint8Array.from(list.flatMap((value) => [value >> 8, value & 255])),
};

const typeNames: readonly DhcpType[] = ["discover", "offer", "request", "decline", "ack", "nak", "release", "inform"];
const typeByNumber = new Map<number, DhcpType>(typeNames.map((name) => [dhcpTypes[name], name]));

const type: Codec<DhcpType> = {
  name: "type",
  decode: (bytes) => {
    if (bytes.length !== 1) return rejected("bad-length");
    const known = typeByNumber.get(bytes[0] ?? 0);
    return known === undefined ? rejected("unsupported") : accepted(known);
  },
  encode: (value) => Uint8Array.of(dhcpTypes[value]),
};

// RFC 1035 section 2.3.4: labels of 63 octets, names of 255 with lengths and root.
const NAME_OCTETS = 255;
// Not from an RFC: pointers to pointers and names of two octets are the only ways to make a small option costly.
const POINTERS_PER_NAME = 16;
const NAMES = 64;
const LABEL = /^[A-Za-z0-9_-]{1,63}$/;

/** RFC 3397: names as in RFC 1035, pointers counted from the start of the joined option. Written without compression; at most 64 names. */
const domains: Codec<readonly string[]> = {
  name: "domains",
  decode: (bytes) => {
    if (bytes.length === 0) return rejected("bad-length");
    const names: string[] = [];
    for (let at = 0; at < bytes.length; ) {
      const read = readName(bytes, at);
      if (!read.ok) return read;
      if (names.push(read.value.name) > NAMES) return rejected("bad-length");
      at = read.value.next;
    }
    return accepted(names);
  },
  encode: (names) => Uint8Array.from(names.filter(isDomain).slice(0, NAMES).flatMap(nameOctets)),
};

function isDomain(name: string): boolean {
  return name.length + 2 <= NAME_OCTETS && name.split(".").every((label) => LABEL.test(label));
}

function nameOctets(name: string): number[] {
  return [...name.split(".").flatMap((label) => [label.length, ...text.encode(label)]), 0];
}

type Step =
  | { readonly kind: "end" }
  | { readonly kind: "pointer"; readonly target: number }
  | { readonly kind: "label"; readonly label: string };

/** One label, pointer or root of a name (RFC 1035 section 4.1.4). */
function readStep(bytes: Uint8Array, at: number): Decoded<Step> {
  const length = bytes[at];
  if (length === undefined) return rejected("truncated");
  if (length === 0) return accepted({ kind: "end" });
  if (length >= 0xc0) {
    const low = bytes[at + 1];
    if (low === undefined) return rejected("truncated");
    return accepted({ kind: "pointer", target: (length & 0x3f) * 256 + low });
  }
  if (length > 63) return rejected("bad-length");
  if (at + 1 + length > bytes.length) return rejected("truncated");
  const label = ascii(bytes.subarray(at + 1, at + 1 + length));
  return LABEL.test(label) ? accepted({ kind: "label", label }) : rejected("unsupported");
}

/** A pointer must go back behind everything read so far of its name, so no loop can be built. */
function readName(bytes: Uint8Array, start: number): Decoded<{ readonly name: string; readonly next: number }> {
  const labels: string[] = [];
  let at = start;
  let floor = start;
  let next: number | undefined;
  let octets = 1;
  for (let pointers = 0; pointers <= POINTERS_PER_NAME; ) {
    const step = readStep(bytes, at);
    if (!step.ok) return step;
    switch (step.value.kind) {
      case "end":
        if (labels.length === 0) return rejected("unsupported");
        return accepted({ name: labels.join("."), next: next ?? at + 1 });
      case "pointer":
        if (step.value.target >= floor) return rejected("unsupported");
        next ??= at + 2;
        pointers += 1;
        floor = step.value.target;
        at = floor;
        break;
      case "label":
        octets += step.value.label.length + 1;
        if (octets > NAME_OCTETS) return rejected("bad-length");
        labels.push(step.value.label);
        at += step.value.label.length + 1;
        break;
      default:
        return unreachable(step.value);
    }
  }
  return rejected("unsupported");
}

/** RFC 3442: prefix length, the octets of the prefix that count, router. Bits outside the mask are cleared, as it demands. */
const routes: Codec<readonly Route4[]> = {
  name: "routes",
  decode: (bytes) => {
    if (bytes.length === 0) return rejected("bad-length");
    const list: Route4[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = bytes[at] ?? 0;
      if (length > 32) return rejected("bad-length");
      const octets = Math.ceil(length / 8);
      if (at + 1 + octets + 4 > bytes.length) return rejected("truncated");
      const to = prefixFrom(bytes.subarray(at + 1, at + 1 + octets), length);
      if (to === undefined) return rejected("unsupported");
      list.push({ to, via: ipv4FromBytes(bytes, at + 1 + octets) });
      at += 1 + octets + 4;
    }
    return accepted(list);
  },
  encode: (list) => Uint8Array.from(list.flatMap(routeOctets)),
};

function prefixFrom(octets: Uint8Array, length: number): Ipv4Prefix | undefined {
  const whole = parsePrefix4(`0.0.0.0/${length}`);
  if (whole === undefined) return undefined;
  const network = (ipv4ToNumber(ipv4FromBytes(octets)) & ipv4ToNumber(netmask4(whole))) >>> 0;
  return parsePrefix4(`${ipv4FromNumber(network)}/${length}`);
}

function routeOctets({ to, via }: Route4): number[] {
  const { first, length } = prefix4Bounds(to);
  const network = ipv4ToBytes(ipv4FromNumber(first));
  return [length, ...network.subarray(0, Math.ceil(length / 8)), ...ipv4ToBytes(via)];
}

/** `value.name` is the kind of the value. */
export interface DhcpOption<T> {
  readonly number: number;
  readonly name: string;
  readonly value: Codec<T>;
  readonly rfc: string;
}

function option<T>(number: number, name: string, value: Codec<T>, rfc: string): DhcpOption<T> {
  return { number, name, value, rfc };
}

export const dhcp4Options = {
  subnetMask: option(1, "subnet mask", address, "RFC 2132 section 3.3"),
  router: option(3, "router", addresses, "RFC 2132 section 3.5"),
  dns: option(6, "domain name server", addresses, "RFC 2132 section 3.8"),
  hostname: option(12, "host name", text, "RFC 2132 section 3.14"),
  domain: option(15, "domain name", text, "RFC 2132 section 3.17"),
  mtu: option(26, "interface MTU", unsigned16, "RFC 2132 section 5.1"),
  broadcast: option(28, "broadcast address", address, "RFC 2132 section 5.3"),
  ntp: option(42, "NTP server", addresses, "RFC 2132 section 8.3"),
  vendor: option(43, "vendor specific", opaque, "RFC 2132 section 8.4"),
  requestedAddress: option(50, "requested IP address", address, "RFC 2132 section 9.1"),
  leaseTime: option(51, "IP address lease time", unsigned32, "RFC 2132 section 9.2"),
  overload: option(52, "option overload", unsigned8, "RFC 2132 section 9.3"),
  type: option(53, "DHCP message type", type, "RFC 2132 section 9.6"),
  serverId: option(54, "server identifier", address, "RFC 2132 section 9.7"),
  parameterList: option(55, "parameter request list", numbers, "RFC 2132 section 9.8"),
  message: option(56, "message", text, "RFC 2132 section 9.9"),
  maxSize: option(57, "maximum DHCP message size", unsigned16, "RFC 2132 section 9.10"),
  renewalTime: option(58, "renewal time (T1)", unsigned32, "RFC 2132 section 9.11"),
  rebindingTime: option(59, "rebinding time (T2)", unsigned32, "RFC 2132 section 9.12"),
  vendorClass: option(60, "vendor class identifier", opaque, "RFC 2132 section 9.13"),
  clientId: option(61, "client identifier", opaque, "RFC 2132 section 9.14"),
  tftpServer: option(66, "TFTP server name", text, "RFC 2132 section 9.4"),
  bootfile: option(67, "bootfile name", text, "RFC 2132 section 9.5"),
  userClass: option(77, "user class", opaque, "RFC 3004"),
  rapidCommit: option(80, "rapid commit", flag, "RFC 4039"),
  fqdn: option(81, "client FQDN", opaque, "RFC 4702"),
  relayAgent: option(82, "relay agent information", opaque, "RFC 3046"),
  clientArchitecture: option(93, "client system architecture", unsigned16List, "RFC 4578 section 2.1"),
  subnetSelection: option(118, "subnet selection", address, "RFC 3011"),
  domainSearch: option(119, "domain search", domains, "RFC 3397"),
  classlessRoutes: option(121, "classless static routes", routes, "RFC 3442"),
} as const satisfies Record<string, DhcpOption<unknown>>;

/** undefined when the option is not there or its bytes mean nothing; `options.has` tells the two apart. */
export function readOption<T>(
  options: ReadonlyMap<number, Uint8Array>,
  { number, value }: DhcpOption<T>,
): T | undefined {
  const bytes = options.get(number);
  if (bytes === undefined) return undefined;
  const read = value.decode(bytes);
  return read.ok ? read.value : undefined;
}
