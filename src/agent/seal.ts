/**
 * A seal on our tables: the digest of how nft lists them when untouched, kept as the name of an empty chain.
 * It lets an agent that knows nothing tell "as I would load it" from "somebody has been in here", on any nft version.
 */
import { createHash } from "node:crypto";
import { portChainPrefix } from "../plan/host.ts";

const SEAL = "sealed_";

export const sealChain = (digest: string): string => SEAL + digest;

/** Chains that come and go by themselves are not part of what is sealed. */
function isPassing(line: string): boolean {
  const name = line.slice("\tchain ".length);
  return name.startsWith(SEAL) || Object.values(portChainPrefix).some((prefix) => name.startsWith(prefix));
}

/** @param listing `nft -s -t list table` of all tables, one after the other */
export function listingDigest(listing: string): string {
  const hash = createHash("sha256");
  let passing = false;
  for (const line of listing.split("\n")) {
    if (line.startsWith("\tchain ")) passing = isPassing(line);
    if (!passing && line.trim() !== "") hash.update(`${line}\n`);
    if (line === "\t}") passing = false;
  }
  return hash.digest("hex").slice(0, 16);
}

/** The digest written on the seal, or undefined when there is none. */
export function sealedDigest(listing: string): string | undefined {
  return /^\tchain sealed_([0-9a-f]{16}) \{$/m.exec(listing)?.[1];
}
