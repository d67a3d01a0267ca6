/** Routes, neighbours and addresses of the running kernel over rtnetlink (linux/rtnetlink.h, linux/neighbour.h, linux/if_addr.h). */
import { GuardError } from "../model/errors.ts";
import { macFromBytes, macToBytes } from "../model/mac.ts";
import { openNetlink, watchNetlink } from "./netlink.ts";
import {
  attributeMap,
  type Message,
  MessageWriter,
  messages,
  NLM_F,
  type Refusal,
  readU32,
  refusalError,
} from "./netlink-message.ts";
import {
  type Lan,
  lanOf,
  ROUTE_PROTOCOL,
  type RouteEvent,
  type RouteItem,
  type RoutePlace,
  type Routes,
  routeText,
} from "./routes.ts";

const NETLINK_ROUTE = 0;
const AF = { INET: 2, INET6: 10 } as const;
const RTM = {
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
  NEWNETCONF: 80,
} as const;
/** linux/rtnetlink.h: neighbours, addresses, routes and settings of both families. */
const GROUPS = [3, 5, 7, 9, 11, 24, 25] as const;
const RTA = { DST: 1, OIF: 4, GATEWAY: 5 } as const;
const NDA = { DST: 1, LLADDR: 2, PROTOCOL: 12 } as const;
const IFA = { ADDRESS: 1, LOCAL: 2, FLAGS: 8, PROTO: 11 } as const;
const NETCONFA_IFINDEX = 1;
const MAIN_TABLE = 254;
const SCOPE = { UNIVERSE: 0, LINK: 253 } as const;
const UNICAST = 1;
const ONLINK = 4;
/** Answer with the entry of the table, not with what was made of it. */
const FIB_MATCH = 0x2000;
const NUD_PERMANENT = 0x80;
const NTF_PROXY = 0x08;
/** No duplicate address detection: the address is the same on purpose on every port. */
const IFA_F_NODAD = 0x02;
const EEXIST = 17;
/** ENOENT, ESRCH, ENXIO, ENODEV, EADDRNOTAVAIL: what should go is not there, or its interface is not. */
const GONE: readonly number[] = [2, 3, 6, 19, 99];

const familyOf = (address: Uint8Array): number => (address.length === 4 ? AF.INET : AF.INET6);
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const kinds = ["address", "neighbour", "route", "proxy"] as const satisfies readonly RouteItem["kind"][];

/** rtmsg: family, both lengths, tos, table, protocol, scope, type, flags. */
function routeHeader(family: number, length: number, scope: number, flags: number): Uint8Array {
  const header = Uint8Array.of(family, length, 0, 0, MAIN_TABLE, ROUTE_PROTOCOL, scope, UNICAST, 0, 0, 0, 0);
  viewOf(header).setUint32(8, flags, true);
  return header;
}

/** Of our protocol alone; no table is named, because a namespace without routes has none, and the kernel then says ENOENT. */
const routesHeader = (family: number): Uint8Array =>
  Uint8Array.of(family, 0, 0, 0, 0, ROUTE_PROTOCOL, 0, 0, 0, 0, 0, 0);

/** ndmsg: family, padding, interface, state, flags, type. */
function neighbourHeader(family: number, ifindex: number, state: number, flags: number): Uint8Array {
  const header = new Uint8Array(12);
  header[0] = family;
  viewOf(header).setInt32(4, ifindex, true);
  viewOf(header).setUint16(8, state, true);
  header[10] = flags;
  return header;
}

/** ifaddrmsg: family, length, flags, scope, interface. */
function addressHeader(family: number, length: number, ifindex: number): Uint8Array {
  const header = Uint8Array.of(family, length, 0, SCOPE.LINK, 0, 0, 0, 0);
  viewOf(header).setUint32(4, ifindex, true);
  return header;
}

function readRoute({ body }: Message): RouteItem | undefined {
  const fields = attributeMap(body.subarray(12));
  const [address, ifindex, via] = [fields.get(RTA.DST), readU32(fields.get(RTA.OIF)), fields.get(RTA.GATEWAY)];
  const isOurs = body[5] === ROUTE_PROTOCOL && body[4] === MAIN_TABLE;
  if (!isOurs || address === undefined || ifindex === undefined) return undefined;
  const item = { kind: "route", ifindex, address: address.slice(), length: body[1] ?? 0 } as const;
  return via === undefined ? item : { ...item, via: via.slice() };
}

/** What goes is told when its MAC is gone already. */
function readNeighbourPlace({ body }: Message): RoutePlace | undefined {
  const fields = attributeMap(body.subarray(12));
  const address = fields.get(NDA.DST);
  if (fields.get(NDA.PROTOCOL)?.[0] !== ROUTE_PROTOCOL || address === undefined) return undefined;
  const kind = ((body[10] ?? 0) & NTF_PROXY) === 0 ? "neighbour" : "proxy";
  return { kind, ifindex: viewOf(body).getInt32(4, true), address: address.slice() };
}

function readNeighbour(message: Message): RouteItem | undefined {
  const place = readNeighbourPlace(message);
  const mac = attributeMap(message.body.subarray(12)).get(NDA.LLADDR);
  if (place?.kind === "proxy") return { ...place, kind: "proxy" };
  return place !== undefined && mac?.length === 6 ? { ...place, kind: "neighbour", mac: macFromBytes(mac) } : undefined;
}

function readAddress({ body }: Message): RouteItem | undefined {
  const fields = attributeMap(body.subarray(8));
  const address = fields.get(IFA.LOCAL) ?? fields.get(IFA.ADDRESS);
  if (fields.get(IFA.PROTO)?.[0] !== ROUTE_PROTOCOL || address === undefined) return undefined;
  const ifindex = viewOf(body).getUint32(4, true);
  return { kind: "address", ifindex, address: address.slice(), length: body[1] ?? 0 };
}

function readLan({ body }: Message): Lan | undefined {
  const address = attributeMap(body.subarray(8)).get(IFA.ADDRESS);
  return address === undefined ? undefined : lanOf(address, body[1] ?? 0);
}

function eventOf(message: Message): RouteEvent | undefined {
  const readers: Readonly<Record<number, (gone: Message) => RoutePlace | undefined>> = {
    [RTM.DELROUTE]: readRoute,
    [RTM.DELNEIGH]: readNeighbourPlace,
    [RTM.DELADDR]: readAddress,
  };
  if (message.type === RTM.NEWNETCONF) return settingEvent(message.body);
  const place = readers[message.type]?.(message);
  return place === undefined ? undefined : { kind: "removed", place };
}

/** netconfmsg is one octet, padded to four. "all" and "default" have negative indexes. */
function settingEvent(body: Uint8Array): RouteEvent | undefined {
  const ifindex = readU32(attributeMap(body.subarray(4)).get(NETCONFA_IFINDEX)) ?? 0;
  return ifindex > 0 && ifindex < 0x8000_0000 ? { kind: "setting", ifindex } : undefined;
}

export function openRoutes(): Routes {
  const socket = openNetlink({ protocol: NETLINK_ROUTE });
  const writer = new MessageWriter();

  function change(type: number, flags: number, header: Uint8Array, fill: () => void): Refusal | undefined {
    const sequence = socket.nextSequence();
    writer.reset().begin(type, NLM_F.REQUEST | NLM_F.ACK | flags, sequence, header);
    fill();
    writer.finish();
    return socket.transact(writer, sequence, sequence);
  }

  function dump(type: number, header: Uint8Array): readonly Message[] {
    const { refusal, messages: found } = socket.dump((w, sequence) =>
      w.begin(type, NLM_F.REQUEST | NLM_F.DUMP, sequence, header).finish(),
    );
    if (refusal !== undefined) throw refusalError("reading routes", refusal);
    return found;
  }

  const present = (items: readonly (RouteItem | undefined)[]): RouteItem[] =>
    items.filter((item) => item !== undefined);

  /** Under strict checking the kernel leaves out routes of other protocols itself. */
  function heldOf(family: number, kind: RouteItem["kind"]): readonly RouteItem[] {
    switch (kind) {
      case "route":
        return present(dump(RTM.GETROUTE, routesHeader(family)).map(readRoute));
      case "address":
        return present(dump(RTM.GETADDR, addressHeader(family, 0, 0).fill(0, 3, 4)).map(readAddress));
      default: {
        const header = neighbourHeader(family, 0, 0, kind === "proxy" ? NTF_PROXY : 0);
        return present(dump(RTM.GETNEIGH, header).map(readNeighbour));
      }
    }
  }

  function held(only?: RouteItem["kind"]): readonly RouteItem[] {
    const wanted = only === undefined ? kinds : [only];
    return [AF.INET, AF.INET6].flatMap((family) => wanted.flatMap((kind) => heldOf(family, kind)));
  }

  /** Under strict checking the kernel tells of this interface alone. */
  function lan(ifindex: number): readonly Lan[] {
    return [AF.INET, AF.INET6].flatMap((family) =>
      dump(RTM.GETADDR, addressHeader(family, 0, ifindex).fill(0, 3, 4)).flatMap((message) => readLan(message) ?? []),
    );
  }

  type Route = Extract<RouteItem, { readonly kind: "route" }>;

  function sendRoute(type: number, flags: number, { ifindex, address, length, via }: Route): Refusal | undefined {
    const scope = via === undefined && address.length === 4 ? SCOPE.LINK : SCOPE.UNIVERSE;
    const header = routeHeader(
      familyOf(address),
      length,
      scope,
      via === undefined || address.length === 16 ? 0 : ONLINK,
    );
    return change(type, flags, header, () => {
      writer.attribute(RTA.DST, address).u32(RTA.OIF, ifindex);
      if (via !== undefined) writer.attribute(RTA.GATEWAY, via);
    });
  }

  /** The entry that stands for this very destination. */
  function routeAt({ address }: Route): RouteItem | undefined {
    const header = new Uint8Array(12);
    header[0] = familyOf(address);
    header[1] = address.length * 8;
    viewOf(header).setUint32(8, FIB_MATCH, true);
    const { message } = socket.ask((w, sequence) =>
      w
        .begin(RTM.GETROUTE, NLM_F.REQUEST | NLM_F.ACK, sequence, header)
        .attribute(RTA.DST, address)
        .finish(),
    );
    return message === undefined ? undefined : readRoute(message);
  }

  function addRoute(item: Route): Refusal | undefined {
    const refusal = sendRoute(RTM.NEWROUTE, NLM_F.CREATE | NLM_F.EXCL, item);
    if (refusal?.errno !== EEXIST) return refusal;
    const standing = routeAt(item);
    if (standing !== undefined && routeText(standing) === routeText(item)) return undefined;
    throw taken(item);
  }

  const taken = ({ kind, address, ifindex }: RouteItem): GuardError =>
    new GuardError("ROUTE_TAKEN", `the ${kind} of ${addressText(address)} (interface ${ifindex}) is somebody else's`, {
      fields: { ifindex },
    });

  type Neighbour = Extract<RouteItem, { readonly kind: "proxy" | "neighbour" }>;
  const proxyHeader = ({ address, ifindex }: Neighbour): Uint8Array =>
    neighbourHeader(familyOf(address), ifindex, 0, NTF_PROXY);

  /** Whose it is, when there is one: two programs would share one entry without knowing. */
  function proxyAt(item: Neighbour): "ours" | "foreign" | undefined {
    const { message } = socket.ask((w, sequence) =>
      w
        .begin(RTM.GETNEIGH, NLM_F.REQUEST | NLM_F.ACK, sequence, proxyHeader(item))
        .attribute(NDA.DST, item.address)
        .finish(),
    );
    if (message === undefined) return undefined;
    return readNeighbour(message) === undefined ? "foreign" : "ours";
  }

  function addProxy(item: Neighbour): Refusal | undefined {
    if (proxyAt(item) === "foreign") throw taken(item);
    return change(RTM.NEWNEIGH, NLM_F.CREATE | NLM_F.REPLACE, proxyHeader(item), () =>
      writer.attribute(NDA.DST, item.address).u8(NDA.PROTOCOL, ROUTE_PROTOCOL),
    );
  }

  function addOther(item: Exclude<RouteItem, Route>): Refusal | undefined {
    const { ifindex, address } = item;
    switch (item.kind) {
      case "proxy":
        return addProxy(item);
      case "neighbour":
        return change(
          RTM.NEWNEIGH,
          NLM_F.CREATE | NLM_F.REPLACE,
          neighbourHeader(familyOf(address), ifindex, NUD_PERMANENT, 0),
          () =>
            writer
              .attribute(NDA.DST, address)
              .attribute(NDA.LLADDR, macToBytes(item.mac))
              .u8(NDA.PROTOCOL, ROUTE_PROTOCOL),
        );
      default:
        return change(
          RTM.NEWADDR,
          NLM_F.CREATE | NLM_F.REPLACE,
          addressHeader(familyOf(address), item.length, ifindex),
          () =>
            writer
              .attribute(IFA.LOCAL, address)
              .attribute(IFA.ADDRESS, address)
              .u32(IFA.FLAGS, address.length === 16 ? IFA_F_NODAD : 0)
              .u8(IFA.PROTO, ROUTE_PROTOCOL),
        );
    }
  }

  function add(item: RouteItem): void {
    const refusal = item.kind === "route" ? addRoute(item) : addOther(item);
    if (refusal !== undefined) throw refusalError(`adding ${item.kind} ${addressText(item.address)}`, refusal);
  }

  function removal(item: RouteItem): Refusal | undefined {
    const { address, ifindex } = item;
    switch (item.kind) {
      case "route":
        return sendRoute(RTM.DELROUTE, 0, item);
      case "proxy":
        return proxyAt(item) === "ours"
          ? change(RTM.DELNEIGH, 0, proxyHeader(item), () => writer.attribute(NDA.DST, address))
          : undefined;
      case "neighbour":
        return change(RTM.DELNEIGH, 0, neighbourHeader(familyOf(address), ifindex, 0, 0), () =>
          writer.attribute(NDA.DST, address),
        );
      default:
        return change(RTM.DELADDR, 0, addressHeader(familyOf(address), item.length, ifindex), () =>
          writer.attribute(IFA.LOCAL, address).attribute(IFA.ADDRESS, address),
        );
    }
  }

  function remove(item: RouteItem): void {
    const refusal = removal(item);
    if (refusal !== undefined && !GONE.includes(refusal.errno))
      throw refusalError(`removing ${item.kind} ${addressText(item.address)}`, refusal);
  }

  function watch(tell: (event: RouteEvent) => void): { close(): void } {
    const heard = (bytes: Uint8Array): void => {
      for (const message of messages(bytes)) {
        const event = eventOf(message);
        if (event !== undefined) tell(event);
      }
    };
    return watchNetlink({ protocol: NETLINK_ROUTE, groups: GROUPS }, heard, () => tell({ kind: "lost" }));
  }

  return { held, lan, add, remove, watch, close: () => socket.close() };
}

const addressText = (address: Uint8Array): string =>
  address.length === 4
    ? address.join(".")
    : Buffer.from(address)
        .toString("hex")
        .replace(/(.{4})(?!$)/g, "$1:");
