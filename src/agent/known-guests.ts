/** All guests that a host knows: its own whole, others as far as their records go, by network and by group. */
import type { ObjectName } from "../model/names.ts";
import type { Guest, NicMember } from "../model/resources.ts";
import { guestOfMembers, unlearned } from "../plan/members.ts";
import type { Key } from "../store/store.ts";

/** A record under one of its keys. */
export interface FoundMember {
  readonly guest: ObjectName;
  readonly nic: number;
  readonly value: NicMember;
}

export interface KnownGuests {
  /** With the addresses that they learned. */
  readonly guests: ReadonlyMap<ObjectName, Guest>;
  readonly declared: ReadonlyMap<ObjectName, Guest>;
  put(key: Key, found: FoundMember): void;
  drop(key: Key, guest: ObjectName): void;
  /** Takes up what is known of it whole, or that it is no more. */
  refresh(name: ObjectName): void;
}

/** The same NIC may be found by its network and by several groups: one value for all of them, because there are many. */
interface Found {
  readonly nic: number;
  readonly value: NicMember;
  readonly keys: readonly Key[];
}

/** @param own guests that are known whole, as they are and as they were declared */
export function createKnownGuests(
  own: ReadonlyMap<ObjectName, Guest>,
  ownDeclared: ReadonlyMap<ObjectName, Guest>,
): KnownGuests {
  const guests = new Map<ObjectName, Guest>();
  const declared = new Map<ObjectName, Guest>();
  const found = new Map<ObjectName, readonly Found[]>();

  function fromRecords(name: ObjectName): Guest | undefined {
    const nics = found.get(name);
    return nics === undefined
      ? undefined
      : guestOfMembers(
          name,
          nics.map(({ value }) => value),
        );
  }

  function refresh(name: ObjectName): void {
    const guest = own.get(name) ?? fromRecords(name);
    if (guest === undefined) {
      guests.delete(name);
      declared.delete(name);
    } else {
      guests.set(name, guest);
      declared.set(name, ownDeclared.get(name) ?? unlearned(guest));
    }
  }

  return {
    guests,
    declared,
    refresh,
    put: (key, { guest, nic, value }) => {
      const known = found.get(guest) ?? [];
      const before = known.find((one) => one.nic === nic);
      const keys = [...(before?.keys ?? []).filter((other) => other !== key), key];
      const others = known.filter((one) => one !== before);
      found.set(
        guest,
        [...others, { nic, value, keys }].sort((a, b) => a.nic - b.nic),
      );
      refresh(guest);
    },
    drop: (key, guest) => {
      const left = (found.get(guest) ?? []).flatMap((one) => {
        if (!one.keys.includes(key)) return one;
        const keys = one.keys.filter((other) => other !== key);
        return keys.length === 0 ? [] : { ...one, keys };
      });
      if (left.length === 0) found.delete(guest);
      else found.set(guest, left);
      refresh(guest);
    },
  };
}
