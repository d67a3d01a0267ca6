/** The host's relay agent: sockets towards the servers, one for each address of the host that they answer to, and what goes over them. */

import type { Refusal } from "../addressing/learn4.ts";
import { fromServer, type RelayPlace, toServer } from "../addressing/relay4.ts";
import { interfaceIdOf, type RelayPlace6, relayForward, relayReplied } from "../addressing/relay6.ts";
import type { Datagram, DatagramSocket, Datagrams } from "../kernel/datagrams.ts";
import type { Clock } from "../model/clock.ts";
import { type IpAddress, isIpv6 } from "../model/ip-block.ts";
import { prefix4Contains } from "../model/ipv4.ts";
import { ipv6FromBytes, linkLocalOf, prefix6Bounds } from "../model/ipv6.ts";
import type { HostId } from "../model/names.ts";
import type { RelayAddressing } from "../model/resources.ts";
import { dhcp4Codec } from "../packet/dhcp4.ts";
import type { Dhcp4Message } from "../packet/dhcp4-message.ts";
import { dhcp4Options, readOption } from "../packet/dhcp4-options.ts";
import { relayInfoCodec, relaySubOptions } from "../packet/dhcp4-relay.ts";
import type { Dhcp6Message } from "../packet/dhcp6.ts";
import { dhcp6RelayCodec } from "../packet/dhcp6-relay.ts";
import type { Learner } from "./bindings.ts";

/** Ports of servers and relay agents (RFC 2131 section 4.1, RFC 8415 section 7.2). */
const PORTS = { ip4: 67, ip6: 547 } as const;
/** How long the host's own address on the way to a server is believed, in milliseconds. */
const WAY_MS = 60_000;

interface RelayParts {
  readonly datagrams: Datagrams;
  readonly host: HostId;
  readonly clock: Clock;
  /** Who learns on the port of that name, by a relay. */
  readonly learnerOn: (port: string) => Learner | undefined;
  readonly answered4: (learner: Learner, message: Dhcp4Message, server: IpAddress) => void;
  readonly answered6: (learner: Learner, message: Dhcp6Message, server: IpAddress) => void;
  readonly refused: (why: Refusal) => void;
  /** undefined: it works. */
  readonly trouble: (why: string | undefined) => void;
}

interface Relay {
  ask4(learner: Learner, message: Dhcp4Message): void;
  ask6(learner: Learner, message: Dhcp6Message): void;
  /** Resolves when everything asked so far is on its way. */
  settled(): Promise<void>;
  close(): void;
}

const relayOf = ({ spec: { addressing } }: Learner): RelayAddressing | undefined =>
  addressing.kind === "relay" ? addressing : undefined;

/** Which port an answer is for, by its own word. */
function circuitIdOf({ options }: Dhcp4Message): string | undefined {
  const info = readOption(options, dhcp4Options.relayAgent);
  const list = info === undefined ? undefined : relayInfoCodec.decode(info);
  const circuit = list?.ok === true ? list.value.find(({ code }) => code === relaySubOptions.circuitId) : undefined;
  return circuit === undefined ? undefined : new TextDecoder("latin1").decode(circuit.body);
}

/** Servers find the subnet by any address of it; the first one is no machine's. undefined without IPv6. */
function place6Of({ attachment, identity, spec }: Learner): RelayPlace6 | undefined {
  if (spec.prefix6 === undefined) return undefined;
  const link = ipv6FromBytes(prefix6Bounds(spec.prefix6).first);
  return { link, peer: linkLocalOf(identity.mac), interfaceId: attachment.port };
}

export function createRelay(parts: RelayParts): Relay {
  const { datagrams, host, clock, learnerOn, refused, trouble } = parts;
  const ways = new Map<IpAddress, { readonly source: IpAddress; readonly at: number }>();
  const sockets = new Map<string, Promise<DatagramSocket>>();
  const under = new Set<Promise<void>>();
  let isClosed = false;

  async function sourceTo(server: IpAddress): Promise<IpAddress> {
    const known = ways.get(server);
    if (known !== undefined && clock.now() - known.at < WAY_MS && clock.now() >= known.at) return known.source;
    const source = await datagrams.sourceTo(server);
    if (source === undefined) throw new Error(`there is no way to the DHCP server ${server}`);
    ways.set(server, { source, at: clock.now() });
    return source;
  }

  function socketAt(address: IpAddress): Promise<DatagramSocket> {
    const known = sockets.get(address);
    if (known !== undefined) return known;
    const opening = isIpv6(address)
      ? datagrams.open(address, PORTS.ip6, (datagram) => hear(take6(datagram)))
      : datagrams.open(address, PORTS.ip4, (datagram) => hear(take4(address, datagram)));
    sockets.set(address, opening);
    // Tried again by the next question.
    opening.catch(() => sockets.delete(address));
    return opening;
  }

  async function send(
    server: IpAddress,
    at: IpAddress | undefined,
    bytesFrom: (source: IpAddress) => Uint8Array,
  ): Promise<void> {
    const source = at ?? (await sourceTo(server));
    const socket = await socketAt(source);
    if (!isClosed) socket.send(server, isIpv6(server) ? PORTS.ip6 : PORTS.ip4, bytesFrom(source));
  }

  function ask(work: readonly Promise<void>[]): void {
    const all = Promise.allSettled(work).then((done) => {
      const failed = done.find((one) => one.status === "rejected");
      trouble(failed === undefined ? undefined : String(failed.reason?.message ?? failed.reason));
      under.delete(all);
    });
    under.add(all);
  }

  /** @param giaddr what servers answer to */
  function placeAt(
    { attachment, spec }: Learner,
    addressing: RelayAddressing,
    giaddr: IpAddress,
  ): RelayPlace | undefined {
    if (isIpv6(giaddr)) return undefined;
    const { prefix4, gateway4 } = spec;
    return {
      giaddr,
      circuitId: attachment.port,
      remoteId: host,
      ...(prefix4Contains(prefix4, giaddr) ? {} : { link: gateway4 }),
      ...(addressing.serverIdOverride ? { serverId: gateway4 } : {}),
    };
  }

  /** @returns why it is no answer to a guest */
  function take4(giaddr: IpAddress, { from, bytes }: Datagram): Refusal | undefined {
    const message = dhcp4Codec.decode(bytes);
    if (!message.ok) return "malformed";
    const learner = learnerOn(circuitIdOf(message.value) ?? "");
    const addressing = learner === undefined ? undefined : relayOf(learner);
    if (learner === undefined || addressing === undefined) return "other-port";
    if (!addressing.servers.some((server) => server === from)) return "other-server";
    const place = placeAt(learner, addressing, giaddr);
    const answer = place === undefined ? undefined : fromServer(message.value, place);
    if (answer === undefined) return "other-port";
    parts.answered4(learner, answer, from);
    return undefined;
  }

  function take6({ from, bytes }: Datagram): Refusal | undefined {
    const reply = dhcp6RelayCodec.decode(bytes);
    if (!reply.ok) return "malformed";
    const learner = learnerOn(interfaceIdOf(reply.value) ?? "");
    const place = learner === undefined ? undefined : place6Of(learner);
    if (learner === undefined || place === undefined) return "other-port";
    if (relayOf(learner)?.servers6.some((server) => server === from) !== true) return "other-server";
    const answer = relayReplied(reply.value, place);
    if (answer === undefined) return "other-port";
    if (!answer.ok) return "malformed";
    parts.answered6(learner, answer.value, from);
    return undefined;
  }

  function hear(why: Refusal | undefined): void {
    if (why !== undefined) refused(why);
  }

  return {
    ask4: (learner, message) => {
      const addressing = relayOf(learner);
      if (addressing === undefined) return;
      ask(
        addressing.servers.map((server) =>
          send(server, addressing.giaddr, (source) => {
            const place = placeAt(learner, addressing, source);
            return dhcp4Codec.encode(place === undefined ? message : toServer(message, place));
          }),
        ),
      );
    },
    ask6: (learner, message) => {
      const [addressing, place] = [relayOf(learner), place6Of(learner)];
      if (addressing === undefined || place === undefined) return;
      const bytes = dhcp6RelayCodec.encode(relayForward(message, place));
      ask(addressing.servers6.map((server) => send(server, undefined, () => bytes)));
    },
    settled: async () => {
      while (under.size > 0) await Promise.all(under);
    },
    close: () => {
      isClosed = true;
      for (const opening of sockets.values())
        opening.then(
          (socket) => socket.close(),
          () => undefined,
        );
      sockets.clear();
    },
  };
}
