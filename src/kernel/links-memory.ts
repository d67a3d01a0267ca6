/** Interfaces, bridge ports and forwarding entries in memory. */
import { GuardError } from "../model/errors.ts";
import { macFromBytes } from "../model/mac.ts";
import type { BridgeNetfilter, BridgePortFlags, FdbEntry, Link, LinkEvent, Links } from "./links.ts";

export interface MemoryLinks extends Links {
  /** What `ip link add` would do; answers the new index, never one used before. */
  add(name: string, kind?: string): number;
  remove(ifindex: number): void;
  /** What the other end does. */
  setCarrier(ifindex: number, carrier: boolean): void;
  /** What `ip address add` would do. */
  addAddress(ifindex: number, address: Uint8Array): void;
}

/** As the kernel sets a new bridge port up (br_add_if). */
const newPort: BridgePortFlags = {
  learning: true,
  locked: false,
  unicastFlood: true,
  multicastFlood: true,
  broadcastFlood: true,
};

/** As the kernel sets a new bridge up (br_dev_setup: no netfilter option is on). */
const newBridge: BridgeNetfilter = { callIptables: false, callIp6tables: false };

export function memoryLinks(): MemoryLinks {
  const links = new Map<number, Link>();
  const fdb = new Map<string, FdbEntry>();
  const addresses = new Map<string, number>();
  const octets = new Map<string, Uint8Array>();
  const isLinkLocal = (address: Uint8Array): boolean => address[0] === 0xfe && address.length === 16;
  const watchers = new Set<(event: LinkEvent) => void>();
  let next = 1;
  const entryText = ({ ifindex, mac }: Pick<FdbEntry, "ifindex" | "mac">): string => `${ifindex}/${mac}`;
  const tell = (event: LinkEvent): void => {
    for (const watcher of watchers) watcher(event);
  };
  const forgetFdb = (ifindex: number): void => {
    for (const [text, entry] of fdb) if (entry.ifindex === ifindex) fdb.delete(text);
  };

  function change(ifindex: number, fields: Partial<Link>): void {
    const link = links.get(ifindex);
    if (link === undefined)
      throw new GuardError("PORT_MISSING", `interface ${ifindex} does not exist`, { fields: { ifindex } });
    const changed = { ...link, ...fields };
    if (JSON.stringify(changed) === JSON.stringify(link)) return;
    links.set(ifindex, changed);
    // As the kernel: of a carrier nothing is told while the interface is down.
    if (changed.up || !("carrier" in fields)) tell({ kind: "changed", link: changed });
  }

  return {
    list: () => [...links.values()],
    byName: (name) => [...links.values()].find((link) => link.name === name),
    byIndex: (ifindex) => links.get(ifindex),
    setUp: (ifindex, up) => change(ifindex, { up }),
    setCarrier: (ifindex, carrier) => change(ifindex, { carrier }),
    setMac: (ifindex, mac) => change(ifindex, { mac }),
    setMaster: (ifindex, master) => {
      if (master !== 0 && links.get(master)?.kind !== "bridge")
        throw new GuardError("KERNEL_REFUSED", `${master} is not a bridge`);
      if (links.get(ifindex)?.master === master) return;
      forgetFdb(ifindex);
      change(ifindex, { master, bridgePort: master === 0 ? undefined : newPort });
    },
    setBridgePort: (ifindex, bridgePort) => {
      if (links.get(ifindex)?.bridgePort === undefined)
        throw new GuardError("KERNEL_REFUSED", `${ifindex} is not a bridge port`);
      change(ifindex, { bridgePort });
    },
    setBridgeNetfilter: (ifindex, bridge) => {
      const link = links.get(ifindex);
      if (link !== undefined && link.bridge === undefined)
        throw new GuardError("KERNEL_REFUSED", `${ifindex} is not a bridge`);
      change(ifindex, { bridge });
    },
    fdb: (ifindex) => [...fdb.values()].filter((entry) => ifindex === undefined || entry.ifindex === ifindex),
    addFdb: (entry) => {
      if (links.get(entry.ifindex)?.bridgePort === undefined)
        throw new GuardError("KERNEL_REFUSED", `${entry.ifindex} is not a bridge port`);
      fdb.set(entryText(entry), entry);
    },
    deleteFdb: (entry) => {
      fdb.delete(entryText(entry));
    },
    isOwnAddress: (address, ifindex) => {
      const holder = addresses.get(address.join("."));
      return isLinkLocal(address) ? holder === ifindex : holder !== undefined;
    },
    addAddress: (ifindex, address) => {
      addresses.set(address.join("."), ifindex);
      octets.set(address.join("."), address);
    },
    addresses: (ifindex) =>
      [...addresses].flatMap(([text, holder]) => {
        const address = octets.get(text);
        return holder === ifindex && address !== undefined && !isLinkLocal(address) ? [address] : [];
      }),
    watch: (event) => {
      watchers.add(event);
      return {
        close: () => {
          watchers.delete(event);
        },
      };
    },
    add: (name, kind = "veth") => {
      const ifindex = next;
      next += 1;
      const mac = macFromBytes(Uint8Array.of(2, 0, 0, 0, ifindex >> 8, ifindex & 255));
      const link: Link = {
        ifindex,
        name,
        mac,
        kind,
        up: false,
        carrier: false,
        master: 0,
        mtu: 1500,
        alias: "",
        bridgePort: undefined,
        ...(kind === "bridge" ? { bridge: newBridge } : {}),
      };
      links.set(ifindex, link);
      tell({ kind: "changed", link });
      return ifindex;
    },
    remove: (ifindex) => {
      const link = links.get(ifindex);
      links.delete(ifindex);
      for (const [text, holder] of addresses) if (holder === ifindex) addresses.delete(text);
      forgetFdb(ifindex);
      if (link !== undefined) tell({ kind: "removed", ifindex, name: link.name });
    },
    close: () => watchers.clear(),
  };
}
