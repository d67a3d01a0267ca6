/** Names that operators and kernels give, checked once at the edge. */
import type { Brand } from "./brand.ts";

/** A Linux interface name that is also safe inside nft text and paths: no quote, slash, space or colon. */
export type InterfaceName = Brand<string, "InterfaceName">;
/** Name of a network, group or guest: a DNS label with dots allowed, at most 63 characters. */
export type ObjectName = Brand<string, "ObjectName">;
/** Names the host in the store; the host name by default. */
export type HostId = Brand<string, "HostId">;

// IFNAMSIZ is 16 with the closing zero (linux/if.h).
const INTERFACE = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/;
const OBJECT = /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/;
const PREFIX = /^[A-Za-z][A-Za-z0-9_.-]{0,13}$/;

export function parseInterfaceName(text: string): InterfaceName | undefined {
  return INTERFACE.test(text) ? (text as InterfaceName) : undefined;
}

export function parseObjectName(text: string): ObjectName | undefined {
  return OBJECT.test(text) ? (text as ObjectName) : undefined;
}

export function parseHostId(text: string): HostId | undefined {
  return OBJECT.test(text) ? (text as HostId) : undefined;
}

/** The beginning of the names of guest ports, such as `vif`: every interface so named is closed until it is attached. */
export type PortPrefix = Brand<string, "PortPrefix">;
export function parsePortPrefix(text: string): PortPrefix | undefined {
  return PREFIX.test(text) ? (text as PortPrefix) : undefined;
}

/** @param prefixes as an agent says them, or as they were checked */
export function isGuarded(name: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) => name.startsWith(prefix));
}
