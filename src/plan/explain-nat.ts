/** What becomes of a frame beyond the port of a guest inside: the guard there sees private addresses only. */
import { parseIpv4, prefix4Contains } from "../model/ipv4.ts";
import type { ExplanationView } from "../model/operations.ts";
import type { ExplainedPort } from "./explain-words.ts";
import { publicAddresses } from "./nat.ts";

/** Ethernet type IPv4, and the destination in the header behind it. */
function destination4({ hex }: ExplanationView): string | undefined {
  const [, octets] = /^.{24}0800.{32}(.{8})/.exec(hex) ?? [];
  return octets?.replace(/../g, (octet) => `${Number.parseInt(octet, 16)}.`).slice(0, -1);
}

export function translationNotes(
  { binding: { nat }, nic, facts }: ExplainedPort,
  frames: readonly ExplanationView[],
): readonly string[] {
  const [inside] = nat?.insides ?? [];
  if (nat === undefined || inside === undefined) return [];
  const isOutside = (frame: ExplanationView): boolean => {
    const address = parseIpv4(destination4(frame) ?? "");
    return address !== undefined && !prefix4Contains(facts.prefix4, address) && address !== facts.gateway4;
  };
  const named = publicAddresses(nat).filter((address) =>
    frames.some((frame) => frame.direction === "to-guest" && destination4(frame) === address),
  );
  const leaving = frames.filter((frame) => frame.direction === "from-guest" && frame.verdict === "pass");
  return [
    ...named.map(
      (address) => `the host translates ${address} before ${nic} is asked: what reaches its port is for ${inside}`,
    ),
    ...(nat.leavesBy === undefined && leaving.some(isOutside)
      ? [`${nic} has no public address to leave by: but for answers, outside this host it is dropped (untranslated)`]
      : []),
  ];
}
