/** nf_tables of the running kernel: batches on a socket that stays open, text through the nft program. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { GuardError } from "../model/errors.ts";
import { unreachable } from "../model/never.ts";
import { openNetlink, watchNetlink } from "./netlink.ts";
import { ERRNO, type Message, MessageWriter, messages, NLM_F, type Refusal, refusalError } from "./netlink-message.ts";
import type { Family, HeldElement, HeldPortChain, Nft, NftChange, SetRef } from "./nft.ts";
import {
  batchEdge,
  messageOf,
  NFT_MSG,
  portions,
  readChain,
  readElements,
  readJump,
  tableName,
  writeChain,
  writeChainRemoval,
  writeElements,
  writeGet,
  writeJump,
} from "./nft-codec.ts";

const NETLINK_NETFILTER = 12;
const NFNLGRP_NFTABLES = 7;
const NFT_TIMEOUT = 20_000;
const run = promisify(execFile);
const environment = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

function said(error: unknown): string {
  const stderr: unknown = error instanceof Error && "stderr" in error ? error.stderr : undefined;
  return typeof stderr === "string" && stderr !== ""
    ? stderr.trim()
    : error instanceof Error
      ? error.message
      : String(error);
}

async function loadText(text: string): Promise<void> {
  // A file, because nft 1.0.6 cannot open /dev/stdin when that is a socket pair, as it is under Node.
  const directory = await mkdtemp(join(tmpdir(), "vifguard-nft-"));
  try {
    const file = join(directory, "ruleset.nft");
    await writeFile(file, text);
    await run("nft", ["-f", file], { env: environment, timeout: NFT_TIMEOUT });
  } catch (cause) {
    throw new GuardError("NFT_REFUSED", `nft refused the ruleset: ${said(cause)}`, { cause });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function listText(family: Family, table: string): Promise<string | undefined> {
  try {
    const { stdout } = await run("nft", ["-s", "-t", "list", "table", family, table], {
      env: environment,
      timeout: NFT_TIMEOUT,
      maxBuffer: 256 << 20,
    });
    return stdout;
  } catch (cause) {
    if (said(cause).includes("No such file or directory")) return undefined;
    throw new GuardError("NFT_REFUSED", `nft could not list '${family} ${table}': ${said(cause)}`, { cause });
  }
}

/** What a change is called in an error. */
function nameOf(change: NftChange): string {
  return "set" in change
    ? `${change.op} ${change.set.family} ${change.set.set} (${change.elements.length})`
    : `${change.op} ${change.chain.chain}`;
}

export function openNft(): Nft {
  const socket = openNetlink({ protocol: NETLINK_NETFILTER, sendBytes: 64 << 20 });
  const writer = new MessageWriter();
  /** Our own `nft -f` is heard as an event too. */
  let loading = 0;

  function writeChange(change: NftChange, next: (write: (sequence: number) => void) => void): void {
    switch (change.op) {
      case "add-elements":
      case "delete-elements": {
        const op = change.op === "add-elements" ? "add" : "delete";
        for (const part of portions(change.elements))
          next((sequence) => writeElements(writer, op, 0, sequence, change.set, part));
        return;
      }
      case "add-port-chain":
        next((sequence) => writeChain(writer, 0, sequence, change.chain));
        next((sequence) => writeJump(writer, 0, sequence, change.chain));
        return;
      case "delete-port-chain":
        next((sequence) => writeChainRemoval(writer, 0, sequence, change.chain));
        return;
      default:
        unreachable(change);
    }
  }

  function commit(changes: readonly NftChange[]): void {
    writer.reset();
    const first = socket.nextSequence();
    batchEdge(writer, "BEGIN", first);
    const owners = new Map<number, NftChange>();
    let last = first;
    let lastAt = 0;
    for (const change of changes) {
      writeChange(change, (write) => {
        last = socket.nextSequence();
        lastAt = writer.length;
        owners.set(last, change);
        write(last);
      });
    }
    if (owners.size === 0) return;
    // Only the last message asks for an answer; a refusal is told in any case.
    const flags = new DataView(writer.buffer.buffer);
    flags.setUint16(lastAt + 6, flags.getUint16(lastAt + 6, true) | NLM_F.ACK, true);
    batchEdge(writer, "END", socket.nextSequence());
    const refusal = socket.transact(writer, first, last);
    if (refusal !== undefined) throw refused(refusal, owners.get(refusal.sequence));
  }

  function refused(refusal: Refusal, change: NftChange | undefined): GuardError {
    const where = change === undefined ? "the transaction" : nameOf(change);
    return refusalError(`the kernel refused ${where}`, refusal, "NFT_REFUSED");
  }

  function dumped(what: string, write: (w: MessageWriter, sequence: number) => void): readonly Message[] | undefined {
    const { refusal, messages: found } = socket.dump(write);
    if (refusal === undefined) return found;
    if (refusal.errno === ERRNO.ENOENT) return undefined;
    throw refusalError(`reading ${what}`, refusal);
  }

  function lookup(set: SetRef, keys: readonly Uint8Array[]): readonly HeldElement[] {
    return keys.flatMap((key): readonly HeldElement[] => {
      const { refusal, message } = socket.ask((w, sequence) =>
        writeElements(w, "get", NLM_F.ACK, sequence, set, [{ key }]),
      );
      if (message !== undefined) return readElements(message);
      if (refusal === undefined || refusal.errno === ERRNO.ENOENT) return [];
      throw refused(refusal, undefined);
    });
  }

  function targets(rules: readonly Message[]): ReadonlyMap<string, string | undefined> {
    const found = new Map<string, string | undefined>();
    for (const { chain, target } of rules.map(readJump)) found.set(chain, found.has(chain) ? undefined : target);
    return found;
  }

  function portChains(table: string, prefix: string): readonly HeldPortChain[] | undefined {
    if (!tables("netdev").includes(table)) return undefined;
    const chains =
      dumped("chains", (w, sequence) => writeGet(w, NFT_MSG.GETCHAIN, NLM_F.DUMP, sequence, "netdev", table)) ?? [];
    const rules =
      dumped("rules", (w, sequence) => writeGet(w, NFT_MSG.GETRULE, NLM_F.DUMP, sequence, "netdev", table)) ?? [];
    const jumps = targets(rules);
    return chains.flatMap((message) => {
      const chain = tableName(message) === table ? readChain(message) : undefined;
      return chain?.chain.startsWith(prefix) === true ? [{ ...chain, target: jumps.get(chain.chain) }] : [];
    });
  }

  function portChain(table: string, name: string): HeldPortChain | undefined {
    const { message, refusal } = socket.ask((w, sequence) =>
      writeGet(w, NFT_MSG.GETCHAIN, NLM_F.ACK, sequence, "netdev", table, name),
    );
    if (message === undefined) {
      if (refusal !== undefined && refusal.errno !== ERRNO.ENOENT) throw refused(refusal, undefined);
      return undefined;
    }
    const chain = readChain(message);
    const rules =
      dumped("rules", (w, sequence) => writeGet(w, NFT_MSG.GETRULE, NLM_F.DUMP, sequence, "netdev", table, name)) ?? [];
    return chain === undefined ? undefined : { ...chain, target: targets(rules).get(name) };
  }

  function tables(family: Family): readonly string[] {
    return (dumped("tables", (w, sequence) => writeGet(w, NFT_MSG.GETTABLE, NLM_F.DUMP, sequence, family)) ?? []).map(
      tableName,
    );
  }

  function isForeign(message: Message): boolean {
    return messageOf(message.type) !== NFT_MSG.NEWGEN && message.portId !== socket.portId && loading === 0;
  }

  function watch(changed: () => void): { close(): void } {
    let told = false;
    const tell = (): void => {
      if (told) return;
      told = true;
      setImmediate(() => {
        told = false;
        changed();
      });
    };
    const heard = (bytes: Uint8Array): void => {
      if ([...messages(bytes)].some(isForeign)) tell();
    };
    return watchNetlink({ protocol: NETLINK_NETFILTER, groups: [NFNLGRP_NFTABLES] }, heard, tell);
  }

  return {
    async load(text) {
      loading += 1;
      try {
        await loadText(text);
      } finally {
        // Events of our child are in the queue by now; they are read before anything that comes later.
        setImmediate(() =>
          setImmediate(() => {
            loading -= 1;
          }),
        );
      }
    },
    listTable: listText,
    commit,
    elements: (set) =>
      dumped(`set '${set.set}'`, (w, sequence) => writeElements(w, "get", NLM_F.DUMP, sequence, set, []))?.flatMap(
        readElements,
      ),
    lookup,
    portChains,
    portChain,
    tables,
    watch,
    close: () => socket.close(),
  };
}
