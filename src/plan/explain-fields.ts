/** Fields of a frame and keys of sets as people read them. */
import { ipv4FromBytes } from "../model/ipv4.ts";
import { ipv6FromBytes } from "../model/ipv6.ts";
import { macFromBytes } from "../model/mac.ts";
import { type Field, fields } from "../ruleset/ast.ts";
import { guardTable } from "../ruleset/guard.ts";

const protocolNames: Readonly<Record<number, string>> = {
  1: "icmp",
  2: "igmp",
  6: "tcp",
  17: "udp",
  47: "gre",
  58: "icmp6",
  112: "vrrp",
};

const protocolText = (number: number): string => protocolNames[number] ?? `protocol ${number}`;

const hex: readonly Field[] = ["etherType", "ip4VersionIhl", "ip4Fragment"];
const numberOf = (bytes: Uint8Array): number => bytes.reduce((sum, byte) => sum * 256 + byte, 0);

/** @param bytes as wide as the field */
export function fieldText(field: Field, bytes: Uint8Array): string {
  if (field === "transport" || field === "ip4Protocol") return protocolText(numberOf(bytes));
  if (hex.includes(field))
    return `0x${numberOf(bytes)
      .toString(16)
      .padStart(bytes.length * 2, "0")}`;
  switch (bytes.length) {
    case 4:
      return ipv4FromBytes(bytes);
    case 6:
      return macFromBytes(bytes);
    case 16:
      return ipv6FromBytes(bytes);
    default:
      return String(numberOf(bytes));
  }
}

/** The port and its network are known from the question. */
const silent: readonly Field[] = ["iif", "oif", "mark"];
const keys = new Map(guardTable.sets.map(({ name, key }) => [name, key]));

/** What a key names besides the port and its network, field by field. */
export function keyTexts(set: string, key: Uint8Array): readonly string[] {
  const texts: string[] = [];
  let at = 0;
  for (const field of keys.get(set) ?? []) {
    const { bytes } = fields[field];
    if (!silent.includes(field)) texts.push(fieldText(field, key.subarray(at, at + bytes)));
    // Every field of a key begins on a word.
    at += (bytes + 3) & ~3;
  }
  return texts;
}
