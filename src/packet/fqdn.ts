/** The client FQDN option of both families (RFC 4702, RFC 4704): who a client says it is, and the answer of a server that updates no DNS. */

/** Bits of the flags octet; DHCPv6 has them without E. */
const S = 0x01;
const O = 0x02;
const E = 0x04;
const N4 = 0x08;
const N6 = 0x04;

const LABEL_OCTETS = 63;

const ascii = (text: string): number[] => Array.from(text, (char) => char.charCodeAt(0) & 0x7f);

const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

/** Labels with their lengths; a name that is not fully qualified has no root at its end (RFC 4702 section 3.3). */
function wireName(hostname: string, domain: string | undefined): number[] {
  const labels = [hostname, ...(domain?.split(".") ?? [])].filter((label) => label !== "");
  const octets = labels.flatMap((label) => [
    Math.min(label.length, LABEL_OCTETS),
    ...ascii(label.slice(0, LABEL_OCTETS)),
  ]);
  return domain === undefined ? octets : [...octets, 0];
}

/** The first label of a name as labels with their lengths; undefined when there is none. */
function firstLabel(name: Uint8Array): string | undefined {
  const length = name[0] ?? 0;
  return length === 0 || length > LABEL_OCTETS || length >= name.length
    ? undefined
    : textOf(name.subarray(1, 1 + length));
}

/** What the guest calls itself in option 81: the first label, unchecked. */
export function fqdnHost4(bytes: Uint8Array): string | undefined {
  if (bytes.length < 4) return undefined;
  const name = bytes.subarray(3);
  // Without E the name is plain text, as old clients send it (RFC 4702 section 2.3.1).
  if (((bytes[0] ?? 0) & E) !== 0) return firstLabel(name);
  return textOf(name.subarray(0, LABEL_OCTETS + 1)).split(".")[0];
}

/**
 * The answer to option 81: in the client's encoding, with N because nothing is updated, and O where the client asked for that (section 4).
 * Both RCODE are 255, as a server writes them (section 2.2).
 */
export function fqdnReply4(asked: Uint8Array, hostname: string, domain: string | undefined): Uint8Array {
  const flags = asked[0] ?? 0;
  const name =
    (flags & E) === 0 ? ascii(domain === undefined ? hostname : `${hostname}.${domain}`) : wireName(hostname, domain);
  return Uint8Array.of((flags & E) | N4 | ((flags & S) === 0 ? 0 : O), 255, 255, ...name);
}

/** The answer to option 39 (RFC 4704 section 6). */
export function fqdnReply6(asked: Uint8Array, hostname: string, domain: string | undefined): Uint8Array {
  return Uint8Array.of(N6 | (((asked[0] ?? 0) & S) === 0 ? 0 : O), ...wireName(hostname, domain));
}
