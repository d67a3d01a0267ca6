/** Routes, neighbours and addresses in memory, other programs' too. */
import { GuardError } from "../model/errors.ts";
import { lanOf, type RouteEvent, type RouteItem, type Routes, routeText } from "./routes.ts";

export interface MemoryRoutes extends Routes {
  /** What another program would do. */
  addForeign(item: RouteItem): void;
  removeAsOther(item: RouteItem): void;
  foreign(): readonly RouteItem[];
}

/** What may stand only once: of a route the destination, of the rest the address on its interface. */
const placeOf = (item: RouteItem): string =>
  item.kind === "route"
    ? `route ${item.address.join(".")}/${item.length}`
    : `${item.kind} ${item.ifindex} ${item.address.join(".")}`;

export function memoryRoutes(): MemoryRoutes {
  const ours = new Map<string, RouteItem>();
  const others = new Map<string, RouteItem>();
  const watchers = new Set<(event: RouteEvent) => void>();

  function add(item: RouteItem): void {
    const place = placeOf(item);
    if ((item.kind === "route" || item.kind === "proxy") && others.has(place))
      throw new GuardError("ROUTE_TAKEN", `${place} is somebody else's`);
    const known = ours.get(place);
    if (known !== undefined && item.kind === "route" && routeText(known) !== routeText(item))
      throw new GuardError("ROUTE_TAKEN", `${place} is there another way`);
    ours.set(place, item);
  }

  function remove(item: RouteItem): void {
    const held = ours.get(placeOf(item));
    if (held === undefined || routeText(held) !== routeText(item)) return;
    ours.delete(placeOf(item));
    if (item.kind !== "proxy") for (const watcher of watchers) watcher({ kind: "removed", place: item });
  }

  return {
    held: (kind) => [...ours.values()].filter((item) => kind === undefined || item.kind === kind),
    lan: (ifindex) =>
      [...ours.values(), ...others.values()].flatMap((item) =>
        item.kind === "address" && item.ifindex === ifindex ? (lanOf(item.address, item.length) ?? []) : [],
      ),
    add,
    remove,
    watch: (event) => {
      watchers.add(event);
      return { close: () => void watchers.delete(event) };
    },
    close: () => watchers.clear(),
    addForeign: (item) => void others.set(placeOf(item), item),
    removeAsOther: remove,
    foreign: () => [...others.values()],
  };
}
