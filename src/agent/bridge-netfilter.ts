/**
 * Bridges hand what they forward to the IP hooks only where connections must be known and the bridge itself cannot track them: by the bridge's own switch,
 * never by the one of all bridges. What vifguard switched on is noted in the kernel, so that it is switched off again and nothing else is.
 */
import type { BridgeNetfilter, Links } from "../kernel/links.ts";
import type { Nft, SetRef } from "../kernel/nft.ts";
import { parseInterfaceName } from "../model/names.ts";
import { type JudgedBridge, nameBytes } from "../ruleset/policy-elements.ts";
import type { Skeleton } from "../ruleset/skeleton.ts";

export interface BridgeNetfilterSwitch {
  /** Before the first port whose flows are judged opens. @throws KERNEL_REFUSED */
  on(bridges: readonly JudgedBridge[]): void;
  /** Whether the bridge is there as the rules know it, and hands over what it forwards where that is needed. */
  isOn(bridge: JudgedBridge): boolean;
  /** Bridges that vifguard switched on and that need it no more. */
  offElsewhere(bridges: readonly JudgedBridge[]): void;
}

const BOTH: BridgeNetfilter = { callIptables: true, callIp6tables: true };
const NEITHER: BridgeNetfilter = { callIptables: false, callIp6tables: false };

export function createBridgeNetfilter(nft: Nft, links: Links, { table, families }: Skeleton): BridgeNetfilterSwitch {
  const notes: SetRef = { family: "bridge", table, set: "switched_on" };
  const isNeeded = families.length > 0 && !families.includes("bridge");

  function switchOn({ name }: JudgedBridge): void {
    const link = links.byName(name);
    if (link?.bridge === undefined || (link.bridge.callIptables && link.bridge.callIp6tables)) return;
    // Noted first: an agent that dies in between leaves a note too many, not a switch that nobody knows of.
    nft.commit([{ op: "add-elements", set: notes, elements: [{ key: nameBytes(name) }] }]);
    links.setBridgeNetfilter(link.ifindex, BOTH);
  }

  function switchOff(key: Uint8Array): void {
    const name = parseInterfaceName(new TextDecoder().decode(key).replace(/\0+$/, ""));
    const link = name === undefined ? undefined : links.byName(name);
    if (link?.bridge !== undefined) links.setBridgeNetfilter(link.ifindex, NEITHER);
    nft.commit([{ op: "delete-elements", set: notes, elements: [{ key }] }]);
  }

  return {
    on: (bridges) => {
      if (isNeeded) for (const bridge of bridges) switchOn(bridge);
    },
    isOn: ({ name, mac }) => {
      const link = links.byName(name);
      const calls = link?.bridge?.callIptables === true && link.bridge.callIp6tables;
      return link?.mac === mac && (calls || !isNeeded);
    },
    offElsewhere: (bridges) => {
      const needed = new Set(bridges.map(({ name }) => String(nameBytes(name))));
      for (const { key } of nft.elements(notes) ?? []) if (!isNeeded || !needed.has(String(key))) switchOff(key);
    },
  };
}
