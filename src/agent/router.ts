/**
 * Makes the kernel route for routed ports: settings of interfaces, addresses, neighbours, routes, proxy entries. What a setting was before is noted in the kernel
 * before it is changed, so that it is put back by whoever finds the note; routes and the like are known by their protocol number.
 */
import type { Links } from "../kernel/links.ts";
import type { Nft } from "../kernel/nft.ts";
import { placeText, type RouteEvent, type RouteItem, type Routes, routeText } from "../kernel/routes.ts";
import type { Sysctls } from "../kernel/sysctls.ts";
import { GuardError } from "../model/errors.ts";
import { parseInterfaceName } from "../model/names.ts";
import type { SettingView } from "../model/operations.ts";
import { type Setting, settingTable } from "../model/settings.ts";
import { type PortWish, routingOf } from "../plan/host.ts";
import type { RoutedWish } from "../plan/routed.ts";
import type { Skeleton } from "../ruleset/skeleton.ts";
import { quietly } from "./quietly.ts";
import { createSettingNotes, type SettingNote } from "./setting-notes.ts";

export interface Routing {
  readonly routes: Routes;
  readonly sysctls: Sysctls;
}

export interface Router {
  /** Before the port goes up; nothing for other ports. @throws KERNEL_REFUSED, FORWARDING_OFF */
  prepare(wish: PortWish): void;
  /** When it is up, and read back. @throws ROUTE_TAKEN, KERNEL_REFUSED */
  connect(wish: PortWish): void;
  /** From whatever there is to what these ports need: what nobody needs any more goes. By port what could not be had. */
  reconcile(wishes: readonly PortWish[]): {
    readonly changed: number;
    readonly failed: ReadonlyMap<number, GuardError>;
  };
  /**
   * Everything of a port; its uplink's settings go with the next `reconcile`. `wish` tells what, where nothing is remembered.
   * @throws KERNEL_REFUSED when something of it stays
   */
  release(ifindex: number, wish?: PortWish): void;
  /** Whether the kernel routes nothing to it and answers for none of its addresses: read back. */
  isWithdrawn(wish: PortWish): boolean;
  /** Whether what agents before this one left, and nobody wants, is gone. */
  isSwept(): boolean;
  /** Whether what was heard touches anything that is needed. */
  isDisturbed(event: RouteEvent): boolean;
  /** The kernel tells nobody that a proxy entry went. */
  isProxyMissing(): boolean;
  settings(): readonly SettingView[];
  /** Whether there is anything to look after, or to put back. */
  isInUse(): boolean;
}

const keyOf = ({ ifindex, name }: Pick<Setting, "ifindex" | "name">): string => `${ifindex}/${name}`;

export function createRouter(nft: Nft, links: Links, { routes, sysctls }: Routing, { table }: Skeleton): Router {
  const notes = createSettingNotes(nft, table);
  const wanted = new Map<number, RoutedWish>();
  let isSwept = false;

  const pathOf = ({ name, device }: Setting): string => settingTable[name].path(device);

  /** Not there at all: fine where the same comes another way, or there is nothing to switch off. */
  function isSpared({ name, device, value }: Setting): boolean {
    if (name === "off6") return value === 1;
    if (name !== "forwarding6") return false;
    if (sysctls.read("ipv6/conf/all/forwarding") === 1) return true;
    throw new GuardError("FORWARDING_OFF", `this kernel cannot forward the IPv6 of interface '${device}' alone`, {
      fields: { device },
    });
  }

  function set(setting: Setting): number {
    const path = pathOf(setting);
    const now = sysctls.read(path);
    if (now === undefined && isSpared(setting)) return 0;
    if (now === undefined) throw new GuardError("KERNEL_REFUSED", `there is no setting ${path}`, { fields: { path } });
    if (now === setting.value || (setting.insteadOf !== undefined && setting.insteadOf !== now)) return 0;
    notes.take({ ...setting, was: now });
    sysctls.write(path, setting.value);
    if (sysctls.read(path) === setting.value) return 1;
    throw new GuardError("VERIFY_FAILED", `setting ${path} did not become ${setting.value}`, { fields: { path } });
  }

  function putBack(note: SettingNote): void {
    const device = parseInterfaceName(links.byIndex(note.ifindex)?.name ?? "");
    if (device !== undefined) quietly(() => sysctls.write(settingTable[note.name].path(device), note.was));
  }

  function putBackAll(of: (ifindex: number) => boolean): number {
    const over = notes.list().filter(({ ifindex }) => of(ifindex));
    // The last one first: forwarding goes before what went before it.
    for (const note of [...over].reverse()) putBack(note);
    notes.drop(over);
    return over.length;
  }

  function prepare(wish: PortWish): void {
    const routing = routingOf(wish);
    if (routing === undefined) return;
    wanted.set(wish.binding.ifindex, routing);
    for (const setting of routing.settings) set(setting);
  }

  function connect(wish: PortWish): void {
    for (const item of routingOf(wish)?.items ?? []) routes.add(item);
  }

  /** As much as can be; @throws the first that could not. */
  function withdraw(items: readonly RouteItem[]): void {
    // The other way round: what leans on another goes first.
    const errors = [...items].reverse().flatMap((item) => attempt(() => routes.remove(item)) ?? []);
    if (errors[0] !== undefined) throw errors[0];
  }

  /** Asked at every detach: no text is made for it. */
  function isWantedElsewhere({ shared = [] }: RoutedWish, item: RouteItem): boolean {
    return (
      shared.includes(item) && [...wanted.values()].some((other) => other.shared?.some((one) => isSame(one, item)))
    );
  }

  function release(ifindex: number, wish?: PortWish): void {
    const own = wanted.get(ifindex) ?? routingOf(wish);
    wanted.delete(ifindex);
    withdraw(own?.items.filter((item) => !isWantedElsewhere(own, item)) ?? []);
    putBackAll((other) => other === ifindex);
  }

  function isWithdrawn(wish: PortWish): boolean {
    const routing = routingOf(wish);
    if (routing === undefined) return true;
    const held = new Set(routes.held().map(routeText));
    const isAnswering = ({ kind }: RouteItem): boolean => kind === "proxy" || kind === "route";
    const own = routing.items.filter((item) => isAnswering(item) && !isWantedElsewhere(routing, item));
    return !own.some((item) => held.has(routeText(item)));
  }

  function missingOf(wish: PortWish, held: ReadonlySet<string>): readonly RouteItem[] {
    return (routingOf(wish)?.items ?? []).filter((item) => !held.has(routeText(item)));
  }

  function removeUnwanted(held: readonly RouteItem[], wishes: readonly PortWish[]): number {
    const needed = new Set(wishes.flatMap((wish) => (routingOf(wish)?.items ?? []).map(routeText)));
    const over = held.filter((item) => !needed.has(routeText(item)));
    withdraw(over);
    return over.length;
  }

  function reconcile(wishes: readonly PortWish[]): ReturnType<Router["reconcile"]> {
    const routed = wishes.filter((wish) => routingOf(wish) !== undefined);
    const all = routes.held();
    let changed = removeUnwanted(all, routed);
    isSwept = true;
    wanted.clear();
    for (const wish of routed) {
      const own = routingOf(wish);
      if (own !== undefined) wanted.set(wish.binding.ifindex, own);
    }
    const held = new Set(all.map(routeText));
    const failed = new Map<number, GuardError>();
    for (const wish of routed) {
      const missing = missingOf(wish, held);
      changed += missing.length;
      const error = attempt(() => missing.forEach(routes.add));
      if (error === undefined) continue;
      failed.set(wish.binding.ifindex, error);
      quietly(() => release(wish.binding.ifindex));
    }
    const inUse = new Set([...wanted].flatMap(([port, { uplink }]) => [port, uplink.ifindex]));
    changed += putBackAll((ifindex) => !inUse.has(ifindex));
    notes.repair();
    return { changed, failed };
  }

  /** One uplink serves many ports: each setting once. */
  function settingsNow(): ReadonlyMap<string, Setting> {
    return new Map([...wanted.values()].flatMap(({ settings }) => settings).map((one) => [keyOf(one), one]));
  }

  function isDisturbed(event: RouteEvent): boolean {
    switch (event.kind) {
      case "removed": {
        const text = placeText(event.place);
        return [...wanted.values()].some(({ items }) => items.some((item) => placeText(item) === text));
      }
      case "setting":
        return [...settingsNow().values()].some((setting) => {
          const now = setting.ifindex === event.ifindex ? sysctls.read(pathOf(setting)) : setting.value;
          return now !== setting.value && (setting.insteadOf === undefined || setting.insteadOf === now);
        });
      default:
        return true;
    }
  }

  function isProxyMissing(): boolean {
    if (wanted.size === 0) return false;
    const held = new Set(routes.held("proxy").map(routeText));
    return [...wanted.values()].some(({ items }) =>
      items.some((item) => item.kind === "proxy" && !held.has(routeText(item))),
    );
  }

  function settings(): readonly SettingView[] {
    const now = settingsNow();
    return notes.list().flatMap(({ ifindex, name, was }) => {
      const setting = now.get(keyOf({ ifindex, name }));
      if (setting === undefined) return [];
      const { device, value } = setting;
      return [{ device, setting: `net/${pathOf(setting)}`, value, was, why: settingTable[name].why }];
    });
  }

  const isInUse = (): boolean => !isSwept || wanted.size > 0 || notes.list().length > 0;
  return {
    prepare,
    connect,
    reconcile,
    release,
    isWithdrawn,
    isSwept: () => isSwept,
    isDisturbed,
    isProxyMissing,
    settings,
    isInUse,
  };
}

const isSame = (a: RouteItem, b: RouteItem): boolean =>
  a.kind === b.kind && a.ifindex === b.ifindex && a.address.every((octet, n) => octet === b.address[n]);

function attempt(action: () => void): GuardError | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof GuardError) return error;
    throw error;
  }
}
