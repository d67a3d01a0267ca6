/** Takes the hooks of old tables away before the tables. */
import type { Family, Nft, NftChange } from "../kernel/nft.ts";
import { portChainPrefix } from "../plan/host.ts";

export interface OldTable {
  readonly family: Family;
  readonly name: string;
}

/** As nft lists a chain with a hook. */
const BASE_CHAIN = /^\tchain (\S+) \{\n\t\ttype /gm;

/** Their names may be none in nft's text. */
function portChainsOf(nft: Nft, table: string): readonly NftChange[] {
  const chains = Object.values(portChainPrefix).flatMap((prefix) => nft.portChains(table, prefix) ?? []);
  return chains.map(({ chain }) => ({ op: "delete-port-chain", chain: { family: "netdev", table, chain } }));
}

async function textFor(nft: Nft, { family, name }: OldTable): Promise<string> {
  const text = (await nft.listTable(family, name)) ?? "";
  return [...text.matchAll(BASE_CHAIN)]
    .map(([, chain]) => `flush chain ${family} ${name} ${chain}\ndelete chain ${family} ${name} ${chain}\n`)
    .join("");
}

/**
 * In the transaction that removes a map the kernel forgets its elements first and leaves its hooks last, and for that millisecond the old rules would drop what they
 * let pass (Linux 6.18: one of 250 pings, in one of fifteen upgrades on two busy cores).
 * @returns text that unhooks what is not unhooked yet, to be loaded with the hooks of the new tables
 */
export async function unhook(nft: Nft, tables: readonly OldTable[]): Promise<string> {
  for (const { family, name } of tables) {
    const changes = family === "netdev" ? portChainsOf(nft, name) : [];
    if (changes.length > 0) nft.commit(changes);
  }
  const others = tables.filter(({ family }) => family !== "netdev");
  return (await Promise.all(others.map((table) => textFor(nft, table)))).join("");
}
