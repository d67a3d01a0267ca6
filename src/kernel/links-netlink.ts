/** Interfaces of the running kernel over rtnetlink (linux/if_link.h, linux/neighbour.h). */
import type { GuardError } from "../model/errors.ts";
import { type MacAddress, macFromBytes, macToBytes } from "../model/mac.ts";
import type { BridgeNetfilter, BridgePortFlags, FdbEntry, Link, LinkEvent, Links } from "./links.ts";
import { openNetlink, watchNetlink } from "./netlink.ts";
import {
  attributeMap,
  ERRNO,
  type Message,
  MessageWriter,
  messages,
  NLM_F,
  type Refusal,
  readString,
  readU32,
  refusalError,
} from "./netlink-message.ts";

const NETLINK_ROUTE = 0;
const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  SETLINK: 19,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
  GETROUTE: 26,
  GETADDR: 22,
} as const;
const RTNLGRP_LINK = 1;
const AF_BRIDGE = 7;
const IFF_UP = 1;
const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  MASTER: 10,
  PROTINFO: 12,
  LINKINFO: 18,
  IFALIAS: 20,
  CARRIER: 33,
} as const;
const IFLA_INFO = { KIND: 1, DATA: 2, SLAVE_KIND: 4, SLAVE_DATA: 5 } as const;
const IFLA_BRPORT = { LEARNING: 8, UNICAST_FLOOD: 9, MCAST_FLOOD: 27, BCAST_FLOOD: 30, LOCKED: 39 } as const;
const IFLA_BR = { NF_CALL_IPTABLES: 36, NF_CALL_IP6TABLES: 37 } as const;
const NDA = { LLADDR: 2, MASTER: 9, VLAN: 5 } as const;
const NUD_PERMANENT = 0x80;
const NUD_NOARP = 0x40;
const NTF_MASTER = 0x04;
const NTF_STICKY = 0x40;
const AF = { INET: 2, INET6: 10 } as const;
const RTA = { DST: 1, OIF: 4 } as const;
const IFA = { ADDRESS: 1, LOCAL: 2, FLAGS: 8 } as const;
/** linux/if_addr.h: temporary (of IPv4: second in its subnet), deprecated, tentative. */
const IFA_F = { TEMPORARY: 0x01, DEPRECATED: 0x20, TENTATIVE: 0x40 } as const;
/** linux/rtnetlink.h: local, broadcast, anycast. */
const OWN_ROUTES: readonly number[] = [2, 3, 4];
/** Where rtm_type stands in struct rtmsg. */
const ROUTE_TYPE = 7;

/** fe80::/10 */
const isLinkLocal = (address: Uint8Array): boolean =>
  address.length === 16 && address[0] === 0xfe && ((address[1] ?? 0) & 0xc0) === 0x80;

/** ifinfomsg: family, pad, type, index, flags, change. */
function linkHeader(family: number, ifindex = 0, flags = 0, change = 0): Uint8Array {
  const header = new Uint8Array(16);
  const view = new DataView(header.buffer);
  header[0] = family;
  view.setInt32(4, ifindex, true);
  view.setUint32(8, flags, true);
  view.setUint32(12, change, true);
  return header;
}

/** ndmsg for an entry of the bridge a port belongs to. */
function neighbourHeader(ifindex: number, isSticky = false): Uint8Array {
  const header = new Uint8Array(12);
  const view = new DataView(header.buffer);
  header[0] = AF_BRIDGE;
  view.setInt32(4, ifindex, true);
  view.setUint16(8, NUD_NOARP, true);
  header[10] = NTF_MASTER | (isSticky ? NTF_STICKY : 0);
  return header;
}

const empty = new Uint8Array();

function bridgePortOf(info: ReadonlyMap<number, Uint8Array>): BridgePortFlags | undefined {
  if (readString(info.get(IFLA_INFO.SLAVE_KIND)) !== "bridge") return undefined;
  const data = attributeMap(info.get(IFLA_INFO.SLAVE_DATA) ?? empty);
  const on = (type: number): boolean => data.get(type)?.[0] === 1;
  return {
    learning: on(IFLA_BRPORT.LEARNING),
    locked: on(IFLA_BRPORT.LOCKED),
    unicastFlood: on(IFLA_BRPORT.UNICAST_FLOOD),
    multicastFlood: on(IFLA_BRPORT.MCAST_FLOOD),
    broadcastFlood: on(IFLA_BRPORT.BCAST_FLOOD),
  };
}

function bridgeOf(info: ReadonlyMap<number, Uint8Array>): { readonly bridge?: BridgeNetfilter } {
  if (readString(info.get(IFLA_INFO.KIND)) !== "bridge") return {};
  const data = attributeMap(info.get(IFLA_INFO.DATA) ?? empty);
  const ip4 = data.get(IFLA_BR.NF_CALL_IPTABLES);
  const ip6 = data.get(IFLA_BR.NF_CALL_IP6TABLES);
  if (ip4 === undefined || ip6 === undefined) return {};
  return { bridge: { callIptables: ip4[0] === 1, callIp6tables: ip6[0] === 1 } };
}

function readLink(message: Message): Link {
  const view = new DataView(message.body.buffer, message.body.byteOffset, message.body.byteLength);
  const fields = attributeMap(message.body.subarray(16));
  const info = attributeMap(fields.get(IFLA.LINKINFO) ?? empty);
  const address = fields.get(IFLA.ADDRESS);
  return {
    ifindex: view.getInt32(4, true),
    name: readString(fields.get(IFLA.IFNAME)),
    mac: macFromBytes(address?.length === 6 ? address : new Uint8Array(6)),
    kind: readString(info.get(IFLA_INFO.KIND)),
    up: (view.getUint32(8, true) & IFF_UP) !== 0,
    carrier: fields.get(IFLA.CARRIER)?.[0] === 1,
    master: readU32(fields.get(IFLA.MASTER)) ?? 0,
    mtu: readU32(fields.get(IFLA.MTU)) ?? 0,
    alias: readString(fields.get(IFLA.IFALIAS)),
    bridgePort: bridgePortOf(info),
    ...bridgeOf(info),
  };
}

function readFdb(message: Message): { readonly entry: FdbEntry; readonly isStatic: boolean } {
  const view = new DataView(message.body.buffer, message.body.byteOffset, message.body.byteLength);
  const fields = attributeMap(message.body.subarray(12));
  const mac: MacAddress = macFromBytes(fields.get(NDA.LLADDR) ?? new Uint8Array(6));
  const state = view.getUint16(8, true);
  // "permanent" are the addresses of the ports themselves; entries with a VLAN repeat those without on a filtering bridge.
  const isStatic =
    (state & NUD_NOARP) !== 0 && (state & NUD_PERMANENT) === 0 && !fields.has(NDA.VLAN) && fields.has(NDA.MASTER);
  const isSticky = (view.getUint8(10) & NTF_STICKY) !== 0;
  return { entry: { ifindex: view.getInt32(4, true), mac, isSticky }, isStatic };
}

export interface LinksOptions {
  /** Of the socket that hears events; small only in tests of the overflow. */
  readonly eventBytes?: number;
}

export function openLinks(options: LinksOptions = {}): Links {
  const socket = openNetlink({ protocol: NETLINK_ROUTE });
  const writer = new MessageWriter();

  const refused = (refusal: Refusal, what: string): GuardError =>
    refusalError(what, refusal, refusal.errno === ERRNO.ENODEV ? "PORT_MISSING" : "KERNEL_REFUSED");

  /** One change; `write` gets the flags it must carry. */
  function change(what: string, write: (flags: number, sequence: number) => void, forgiven?: number): void {
    const sequence = socket.nextSequence();
    writer.reset();
    write(NLM_F.REQUEST | NLM_F.ACK, sequence);
    writer.finish();
    const refusal = socket.transact(writer, sequence, sequence);
    if (refusal !== undefined && refusal.errno !== forgiven) throw refused(refusal, what);
  }

  function one(name: string | undefined, ifindex: number): Link | undefined {
    const { refusal, message } = socket.ask((w, sequence) => {
      w.begin(RTM.GETLINK, NLM_F.REQUEST | NLM_F.ACK, sequence, linkHeader(0, ifindex));
      if (name !== undefined) w.string(IFLA.IFNAME, name);
      w.finish();
    });
    if (message !== undefined) return readLink(message);
    if (refusal === undefined || refusal.errno === ERRNO.ENODEV) return undefined;
    throw refused(refusal, `reading interface ${name ?? ifindex}`);
  }

  function list(): readonly Link[] {
    const { refusal, messages: found } = socket.dump((w, sequence) =>
      w.begin(RTM.GETLINK, NLM_F.REQUEST | NLM_F.DUMP, sequence, linkHeader(0)).finish(),
    );
    if (refusal !== undefined) throw refused(refusal, "reading interfaces");
    return found.map(readLink);
  }

  function fdb(ifindex?: number): readonly FdbEntry[] {
    const { refusal, messages: found } = socket.dump((w, sequence) => {
      // Under strict checking the index filters: one port's entries. Without it every entry of every bridge comes (60 ms at 1 500 ports).
      const header = new Uint8Array(12);
      header[0] = AF_BRIDGE;
      new DataView(header.buffer).setInt32(4, ifindex ?? 0, true);
      w.begin(RTM.GETNEIGH, NLM_F.REQUEST | NLM_F.DUMP, sequence, header).finish();
    });
    if (refusal !== undefined) throw refused(refusal, "reading forwarding entries");
    const entries = found.map(readFdb).filter(({ isStatic }) => isStatic);
    return entries.map(({ entry }) => entry).filter((entry) => ifindex === undefined || entry.ifindex === ifindex);
  }

  /** Any refusal means that there is no way there, so it is not the host. */
  function isOwnAddress(address: Uint8Array, ifindex: number): boolean {
    const header = new Uint8Array(12);
    header[0] = address.length === 4 ? AF.INET : AF.INET6;
    header[1] = address.length * 8;
    const { message } = socket.ask((w, sequence) => {
      w.begin(RTM.GETROUTE, NLM_F.REQUEST | NLM_F.ACK, sequence, header).attribute(RTA.DST, address);
      if (isLinkLocal(address)) w.u32(RTA.OIF, ifindex);
      w.finish();
    });
    return message !== undefined && OWN_ROUTES.includes(message.body[ROUTE_TYPE] ?? 0);
  }

  function addressesOf(family: number, ifindex: number): readonly Uint8Array[] {
    const { refusal, messages: found } = socket.dump((w, sequence) => {
      // Under strict checking the index filters.
      const header = new Uint8Array(8);
      header[0] = family;
      new DataView(header.buffer).setUint32(4, ifindex, true);
      w.begin(RTM.GETADDR, NLM_F.REQUEST | NLM_F.DUMP, sequence, header).finish();
    });
    // Of an interface that is gone nothing is known.
    if (refusal !== undefined && refusal.errno !== ERRNO.ENODEV) throw refused(refusal, "reading addresses");
    const unfit = IFA_F.DEPRECATED | IFA_F.TENTATIVE | (family === AF.INET6 ? IFA_F.TEMPORARY : 0);
    return found.flatMap(({ body }) => {
      const fields = attributeMap(body.subarray(8));
      const address = fields.get(IFA.LOCAL) ?? fields.get(IFA.ADDRESS);
      const isFit = ((readU32(fields.get(IFA.FLAGS)) ?? 0) & unfit) === 0;
      return address !== undefined && isFit && !isLinkLocal(address) ? [address.slice()] : [];
    });
  }

  /** Bridges tell of their ports in messages of their own; the interface itself is then read again, whole. */
  function eventOf(message: Message): LinkEvent | undefined {
    const ofBridge = message.body[0] === AF_BRIDGE;
    const { ifindex, name } = readLink(message);
    if (message.type === RTM.DELLINK && !ofBridge) return { kind: "removed", ifindex, name };
    const link = ofBridge ? one(undefined, ifindex) : readLink(message);
    return link === undefined ? undefined : { kind: "changed", link };
  }

  function watch(tell: (event: LinkEvent) => void): { close(): void } {
    const small = options.eventBytes === undefined ? {} : { receiveBytes: options.eventBytes };
    const heard = (bytes: Uint8Array): void => {
      for (const message of messages(bytes)) {
        const event = message.type === RTM.NEWLINK || message.type === RTM.DELLINK ? eventOf(message) : undefined;
        if (event !== undefined) tell(event);
      }
    };
    return watchNetlink({ protocol: NETLINK_ROUTE, groups: [RTNLGRP_LINK], ...small }, heard, () =>
      tell({ kind: "lost" }),
    );
  }

  return {
    list,
    byName: (name) => one(name, 0),
    byIndex: (ifindex) => (ifindex > 0 ? one(undefined, ifindex) : undefined),
    setUp: (ifindex, up) =>
      change(`setting interface ${ifindex} ${up ? "up" : "down"}`, (flags, sequence) =>
        writer.begin(RTM.SETLINK, flags, sequence, linkHeader(0, ifindex, up ? IFF_UP : 0, IFF_UP)),
      ),
    setMac: (ifindex, mac) =>
      change(`giving interface ${ifindex} the MAC ${mac}`, (flags, sequence) =>
        writer.begin(RTM.SETLINK, flags, sequence, linkHeader(0, ifindex)).attribute(IFLA.ADDRESS, macToBytes(mac)),
      ),
    setMaster: (ifindex, master) =>
      change(`putting interface ${ifindex} into ${master}`, (flags, sequence) =>
        writer.begin(RTM.SETLINK, flags, sequence, linkHeader(0, ifindex)).u32(IFLA.MASTER, master),
      ),
    setBridgePort: (ifindex, wanted) =>
      change(`setting bridge port ${ifindex}`, (flags, sequence) =>
        writer.begin(RTM.SETLINK, flags, sequence, linkHeader(AF_BRIDGE, ifindex)).nest(IFLA.PROTINFO, () => {
          writer.u8(IFLA_BRPORT.LEARNING, Number(wanted.learning)).u8(IFLA_BRPORT.LOCKED, Number(wanted.locked));
          writer
            .u8(IFLA_BRPORT.UNICAST_FLOOD, Number(wanted.unicastFlood))
            .u8(IFLA_BRPORT.MCAST_FLOOD, Number(wanted.multicastFlood));
          writer.u8(IFLA_BRPORT.BCAST_FLOOD, Number(wanted.broadcastFlood));
        }),
      ),
    setBridgeNetfilter: (ifindex, { callIptables, callIp6tables }) =>
      change(`setting bridge ${ifindex}`, (flags, sequence) =>
        // Without NLM_F_CREATE it is a change of what is there, and of a link of another kind refused.
        writer.begin(RTM.NEWLINK, flags, sequence, linkHeader(0, ifindex)).nest(IFLA.LINKINFO, () => {
          writer.string(IFLA_INFO.KIND, "bridge").nest(IFLA_INFO.DATA, () => {
            writer.u8(IFLA_BR.NF_CALL_IPTABLES, Number(callIptables));
            writer.u8(IFLA_BR.NF_CALL_IP6TABLES, Number(callIp6tables));
          });
        }),
      ),
    fdb,
    addFdb: ({ ifindex, mac, isSticky }) =>
      change(`adding ${mac} to port ${ifindex}`, (flags, sequence) =>
        writer
          .begin(RTM.NEWNEIGH, flags | NLM_F.CREATE | NLM_F.REPLACE, sequence, neighbourHeader(ifindex, isSticky))
          .attribute(NDA.LLADDR, macToBytes(mac)),
      ),
    deleteFdb: ({ ifindex, mac }) =>
      change(
        `taking ${mac} from port ${ifindex}`,
        (flags, sequence) =>
          writer.begin(RTM.DELNEIGH, flags, sequence, neighbourHeader(ifindex)).attribute(NDA.LLADDR, macToBytes(mac)),
        ERRNO.ENOENT,
      ),
    isOwnAddress,
    addresses: (ifindex) => [AF.INET, AF.INET6].flatMap((family) => addressesOf(family, ifindex)),
    watch,
    close: () => socket.close(),
  };
}
