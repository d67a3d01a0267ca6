/** What a DHCP client says of its kind, in either family, and which class of clients that makes it. */
import type { ClientMatch } from "../model/dhcp.ts";
import type { Dhcp4Message } from "../packet/dhcp4-message.ts";
import { dhcp4Options as known, readOption } from "../packet/dhcp4-options.ts";
import { dhcp6Codes as codes, type Dhcp6Message } from "../packet/dhcp6.ts";

interface Traits {
  readonly vendorClasses: readonly string[];
  readonly userClasses: readonly string[];
  readonly archs: readonly number[];
}

/** What is told to clients of one class. */
export interface Variant<Offer> {
  readonly when: ClientMatch;
  readonly offer: Offer;
}

/** Enough for any vendor's words; a class that is longer is none we know. */
const TEXT_MOST = 255;
const INSTANCES_MOST = 16;

const textOf = (bytes: Uint8Array | undefined): string =>
  bytes === undefined ? "" : String.fromCharCode(...bytes.subarray(0, TEXT_MOST));

/** Items with a length before each; what is broken ends the list. */
function instances(bytes: Uint8Array, lengthOctets: 1 | 2): readonly string[] {
  const found: string[] = [];
  let at = 0;
  while (at + lengthOctets <= bytes.length && found.length < INSTANCES_MOST) {
    const length = lengthOctets === 1 ? (bytes[at] ?? 0) : (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
    const start = at + lengthOctets;
    if (start + length > bytes.length) break;
    found.push(textOf(bytes.subarray(start, start + length)));
    at = start + length;
  }
  return found;
}

function traits4({ options }: Dhcp4Message): Traits {
  const userClass = options.get(known.userClass.number);
  return {
    vendorClasses: [textOf(options.get(known.vendorClass.number))],
    // RFC 3004 wants a list; iPXE and others write the bare word.
    userClasses: userClass === undefined ? [] : [textOf(userClass), ...instances(userClass, 1)],
    archs: readOption(options, known.clientArchitecture) ?? [],
  };
}

function traits6({ options }: Dhcp6Message): Traits {
  const bodies = (code: number): readonly Uint8Array[] =>
    options.flatMap((option) => (option.code === code ? [option.body] : []));
  const archs = bodies(codes.clientArchitecture).flatMap((body) => known.clientArchitecture.value.decode(body));
  return {
    // Behind the enterprise number (RFC 8415 section 21.16).
    vendorClasses: bodies(codes.vendorClass).flatMap((body) => instances(body.subarray(4), 2)),
    userClasses: bodies(codes.userClass).flatMap((body) => instances(body, 2)),
    archs: archs.flatMap((read) => (read.ok ? read.value : [])),
  };
}

function isOf({ vendorClass, userClass, arch }: ClientMatch, traits: Traits): boolean {
  if (vendorClass !== undefined && !traits.vendorClasses.some((said) => said.startsWith(vendorClass))) return false;
  if (userClass !== undefined && !traits.userClasses.includes(userClass)) return false;
  return arch === undefined || traits.archs.some((said) => arch.includes(said));
}

type Varied<Offer> = { readonly variants?: readonly Variant<Offer>[] };

function chosen<Offer extends Varied<Offer>>(offer: Offer, traits: () => Traits): Offer {
  const { variants = [] } = offer;
  if (variants.length === 0) return offer;
  const said = traits();
  return variants.find(({ when }) => isOf(when, said))?.offer ?? offer;
}

export const offerFor4 = <Offer extends Varied<Offer>>(offer: Offer, message: Dhcp4Message): Offer =>
  chosen(offer, () => traits4(message));

export const offerFor6 = <Offer extends Varied<Offer>>(offer: Offer, message: Dhcp6Message): Offer =>
  chosen(offer, () => traits6(message));
