/** What settings were before vifguard changed them: in the kernel, beside the rules, so that an agent with no memory puts them back; and what those uplinks may not forward. */

import type { Nft, NftChange, SetRef } from "../kernel/nft.ts";
import { be16 } from "../model/bytes.ts";
import { type SettingName, settingNames, settingTable } from "../model/settings.ts";
import { concatKey, hostU32, hostU32At } from "../ruleset/element-bytes.ts";
import { ETHER_TYPE } from "../ruleset/parts.ts";

export interface SettingNote {
  readonly ifindex: number;
  readonly name: SettingName;
  readonly was: number;
}

export interface SettingNotes {
  list(): readonly SettingNote[];
  /** Without effect when the setting is noted already: the first value is the one to go back to. */
  take(note: SettingNote): void;
  drop(notes: readonly SettingNote[]): void;
  /** The kernel's notes are what is known here, whatever another program did to the tables. */
  repair(): void;
}

/** Values are small numbers: the code stands above them. */
const CODE_SHIFT = 16;

const noteKey = ({ ifindex, name, was }: SettingNote): Uint8Array =>
  concatKey(hostU32(ifindex), hostU32(settingTable[name].code * 2 ** CODE_SHIFT + was));

function readNote(key: Uint8Array): SettingNote | undefined {
  const mark = hostU32At(key, 4);
  const name = settingNames.find((candidate) => settingTable[candidate].code === mark >>> CODE_SHIFT);
  return name === undefined ? undefined : { ifindex: hostU32At(key, 0), name, was: mark & (2 ** CODE_SHIFT - 1) };
}

/** The family whose forwarding was off before: nobody else's packets are forwarded from there. */
function openedKey({ ifindex, name, was }: SettingNote): readonly Uint8Array[] {
  if (was !== 0 || (name !== "forwarding4" && name !== "forwarding6")) return [];
  const type = name === "forwarding4" ? ETHER_TYPE.ip4 : ETHER_TYPE.ip6;
  return [concatKey(hostU32(ifindex), be16(type))];
}

const textOf = (key: Uint8Array): string => key.join(".");

export function createSettingNotes(nft: Nft, table: string): SettingNotes {
  const sets = {
    settings: { family: "inet", table, set: "settings" },
    opened: { family: "inet", table, set: "opened" },
  } as const satisfies Readonly<Record<string, SetRef>>;
  let known: Map<string, SettingNote> | undefined;

  const held = (set: SetRef): readonly Uint8Array[] => (nft.elements(set) ?? []).map(({ key }) => key);
  const keyOf = ({ ifindex, name }: SettingNote): string => `${ifindex}/${name}`;

  /** Read when it is first asked for: by then the tables are there, with what older ones knew. */
  function notes(): Map<string, SettingNote> {
    known ??= new Map(
      held(sets.settings)
        .map(readNote)
        .filter((note) => note !== undefined)
        .map((note) => [keyOf(note), note]),
    );
    return known;
  }

  const keysOf = (list: readonly SettingNote[]) => ({
    settings: list.map(noteKey),
    opened: list.flatMap(openedKey),
  });

  function changes(op: "add-elements" | "delete-elements", keys: ReturnType<typeof keysOf>): NftChange[] {
    return (["opened", "settings"] as const).flatMap((name): NftChange[] =>
      keys[name].length === 0 ? [] : [{ op, set: sets[name], elements: keys[name].map((key) => ({ key })) }],
    );
  }

  function commit(list: readonly NftChange[]): void {
    if (list.length > 0) nft.commit(list);
  }

  /** Only what is there can be deleted. */
  function present(keys: ReturnType<typeof keysOf>): ReturnType<typeof keysOf> {
    const there = (set: SetRef, own: readonly Uint8Array[]): Uint8Array[] =>
      own.length === 0 ? [] : nft.lookup(set, own).map(({ key }) => key);
    return { settings: there(sets.settings, keys.settings), opened: there(sets.opened, keys.opened) };
  }

  return {
    list: () => [...notes().values()],
    take: (note) => {
      if (notes().has(keyOf(note))) return;
      // Noted first: an agent that dies in between leaves a note too many, not a setting that nobody knows of.
      commit(changes("add-elements", keysOf([note])));
      notes().set(keyOf(note), note);
    },
    drop: (list) => {
      commit(changes("delete-elements", present(keysOf(list))));
      for (const note of list) notes().delete(keyOf(note));
    },
    repair: () => {
      const own = keysOf([...notes().values()]);
      for (const name of ["opened", "settings"] as const) {
        const [wish, have] = [own[name], held(sets[name])].map(
          (keys) => new Map(keys.map((key) => [textOf(key), key])),
        );
        const missing = [...(wish ?? [])].filter(([text]) => have?.has(text) !== true).map(([, key]) => ({ key }));
        const over = [...(have ?? [])].filter(([text]) => wish?.has(text) !== true).map(([, key]) => ({ key }));
        if (missing.length > 0) nft.commit([{ op: "add-elements", set: sets[name], elements: missing }]);
        if (over.length > 0) nft.commit([{ op: "delete-elements", set: sets[name], elements: over }]);
      }
    },
  };
}
