/** The DHCP responder of this host: which port may be told what, and the journal that makes a promise durable before it is made. */
import { answer4 } from "../addressing/dhcp4-frames.ts";
import { answer6 } from "../addressing/dhcp6-frames.ts";
import { RESPONDER_MAC } from "../addressing/neighbour-answers.ts";
import type { SilenceReason } from "../addressing/respond.ts";
import type { Frames } from "../kernel/frames.ts";
import type { Probes } from "../kernel/probes.ts";
import type { Clock } from "../model/clock.ts";
import { GuardError } from "../model/errors.ts";
import { isIpv6 } from "../model/ip-block.ts";
import { keys } from "../model/keys.ts";
import type { ObjectName } from "../model/names.ts";
import type { Attachment, DhcpLease, NicIdentity } from "../model/resources.ts";
import { logGroups } from "../ruleset/parts.ts";
import type { Store, Write } from "../store/store.ts";
import type { Conditions } from "./conditions.ts";
import { createConflicts } from "./conflicts.ts";
import { type DhcpService, type IpFamily, type LeaseEntry, type ServedPort, startDhcpService } from "./dhcp-service.ts";
import type { Mirror } from "./mirror.ts";
import { portOffer, portOffer6 } from "./offers.ts";

export interface PortDhcp {
  /** Takes up what the site says now for this attachment. */
  refresh(attachment: Attachment): void;
  forget(ifindex: number): void;
  readonly service: DhcpService;
  stop(): Promise<void>;
}

export interface DhcpParts {
  readonly frames: Frames;
  readonly store: Store;
  readonly mirror: Mirror;
  readonly clock: Clock;
  readonly conditions: Conditions;
  /** Absent where the kernel is not asked. */
  readonly probes?: Probes | undefined;
  /** The bridge of a port, where it is in one. */
  readonly bridgeOf: (ifindex: number) => number | undefined;
}

interface PromisedPort extends ServedPort {
  readonly attachment: Attachment;
  readonly network: ObjectName;
}

type Promises = Partial<Readonly<Record<IpFamily, PromisedPort>>>;

/** Of a condition at most; the log has had them all. */
const CONFLICTS_NAMED = 8;

const leaseName = ({ network, offer }: PromisedPort): string => `${network}/${offer.address}`;

/** Counted by itself: whoever asks there is misconfigured, and an operator wants to see it. */
function unserved(place: Pick<PromisedPort, "attachment" | "network">, { mac, addresses4 }: NicIdentity): Promises {
  const [address] = addresses4;
  if (address === undefined) return {};
  const why: SilenceReason = "unserved";
  const port: PromisedPort = { ...place, offer: { mac, address }, answer: () => ({ kind: "silence", why }) };
  return { ip4: port, ip6: port };
}

export function startPortDhcp(parts: DhcpParts): PortDhcp {
  const { frames, store, mirror, clock, conditions, probes, bridgeOf } = parts;
  const promised = new Map<number, Promises>();

  /** One transaction for a whole batch: it is the store's work to make it durable, and ours to wait for it. */
  async function append(entries: readonly LeaseEntry<PromisedPort>[]): Promise<void> {
    const writes = entries.map(({ port, change }): Write => {
      const { attachment, network, offer } = port;
      const lease = {
        ...change,
        network,
        address: offer.address,
        guest: attachment.guest,
        nic: attachment.nic,
        mac: offer.mac,
      };
      return { op: "put", key: keys.dhcpLease(network, offer.address), value: lease };
    });
    try {
      const commit = await store.commit({ expect: [], writes });
      if (!commit.ok) throw new GuardError("CONFLICT", `'${commit.conflict}' was changed meanwhile`);
      await mirror.wrote(writes, commit.revision);
      conditions.clear("DHCP_FAILED");
    } catch (error) {
      conditions.raise("DHCP_FAILED", error instanceof Error ? error.message : String(error));
      throw error;
    }
  }

  /** A record of the address under its former holder is no promise to this one. */
  function ownLease(port: PromisedPort): DhcpLease | undefined {
    const lease = mirror.leases.get(leaseName(port));
    return lease?.guest === port.attachment.guest && lease.mac === port.offer.mac ? lease : undefined;
  }

  const conflicts = probes === undefined ? undefined : createConflicts({ probes, now: clock.now, tell: tellConflicts });

  function tellConflicts(standing: readonly string[]): void {
    if (standing.length === 0) conditions.clear("ADDRESS_CONFLICT");
    else conditions.raise("ADDRESS_CONFLICT", standing.slice(0, CONFLICTS_NAMED).join("; "));
  }

  function isWanted(network: ObjectName): boolean {
    const { addressing } = mirror.networks.get(network) ?? {};
    return addressing?.kind === "managed" && addressing.conflictDetection === true;
  }

  /** IPv4 alone: with IPv6 every guest looks by itself (RFC 4862 section 5.4), and its DECLINE is heard. */
  function check({ network, attachment, offer: { address, mac } }: PromisedPort, ifindex: number) {
    const bridge = bridgeOf(ifindex);
    if (!isWanted(network) || isIpv6(address) || bridge === undefined) return undefined;
    return conflicts?.check({ ifindex: bridge, address, mac, guest: attachment.guest });
  }

  const service = startDhcpService<PromisedPort>({
    frames,
    group: logGroups.dhcp,
    portOf: (ifindex, family) => promised.get(ifindex)?.[family],
    leases: { get: ownLease },
    journal: { append },
    clock,
    check,
  });

  function promisesFor(attachment: Attachment): Promises {
    const guest = mirror.guests.get(attachment.guest);
    const nic = guest?.nics[attachment.nic];
    const network = nic === undefined ? undefined : mirror.networks.get(nic.network);
    if (guest === undefined || nic === undefined || network === undefined) return {};
    const place = { attachment, network: nic.network };
    const { kind } = network.addressing;
    if (kind === "static" || kind === "mac") return unserved(place, nic);
    const spec = guest.spec.nics[attachment.nic];
    const [offer, offer6] = [portOffer(guest, nic, spec, network), portOffer6(guest, nic, spec, network)];
    return {
      ...(offer === undefined
        ? {}
        : {
            ip4: { ...place, offer, answer: (frame, lease, now) => answer4(frame, offer, RESPONDER_MAC, lease, now) },
          }),
      ...(offer6 === undefined
        ? {}
        : {
            ip6: {
              ...place,
              offer: offer6,
              answer: (frame, lease, now) => answer6(frame, offer6, RESPONDER_MAC, lease, now),
            },
          }),
    };
  }

  return {
    service,
    refresh: (attachment) => {
      const promises = promisesFor(attachment);
      promised.set(attachment.ifindex, promises);
      if (promises.ip4 === undefined || !isWanted(promises.ip4.network)) conflicts?.forget(attachment.guest);
    },
    forget: (ifindex) => {
      const guest = promised.get(ifindex)?.ip4?.attachment.guest;
      if (guest !== undefined) conflicts?.forget(guest);
      promised.delete(ifindex);
    },
    stop: service.stop,
  };
}
