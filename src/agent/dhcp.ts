/** The DHCP responder of this host: which port may be told what, and the journal that makes a promise durable before it is made. */
import { answer4 } from "../addressing/dhcp4-frames.ts";
import { answer6 } from "../addressing/dhcp6-frames.ts";
import { RESPONDER_MAC } from "../addressing/neighbour-answers.ts";
import type { Frames } from "../kernel/frames.ts";
import type { Clock } from "../model/clock.ts";
import { GuardError } from "../model/errors.ts";
import { keys } from "../model/keys.ts";
import type { ObjectName } from "../model/names.ts";
import type { Attachment, DhcpLease } from "../model/resources.ts";
import { logGroups } from "../ruleset/parts.ts";
import type { Store, Write } from "../store/store.ts";
import type { Conditions } from "./conditions.ts";
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
}

interface PromisedPort extends ServedPort {
  readonly attachment: Attachment;
  readonly network: ObjectName;
}

type Promises = Partial<Readonly<Record<IpFamily, PromisedPort>>>;

const leaseName = ({ network, offer }: PromisedPort): string => `${network}/${offer.address}`;

export function startPortDhcp(parts: DhcpParts): PortDhcp {
  const { frames, store, mirror, clock, conditions } = parts;
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
      await mirror.caughtUp(commit.revision);
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

  const service = startDhcpService<PromisedPort>({
    frames,
    group: logGroups.dhcp,
    portOf: (ifindex, family) => promised.get(ifindex)?.[family],
    leases: { get: ownLease },
    journal: { append },
    clock,
  });

  function promisesFor(attachment: Attachment): Promises {
    const guest = mirror.guests.get(attachment.guest);
    const nic = guest?.nics[attachment.nic];
    const network = nic === undefined ? undefined : mirror.networks.get(nic.network);
    if (guest === undefined || nic === undefined || network === undefined) return {};
    const place = { attachment, network: nic.network };
    const [offer, offer6] = [portOffer(guest, nic, network), portOffer6(nic, guest.spec.nics[attachment.nic], network)];
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
      promised.set(attachment.ifindex, promisesFor(attachment));
    },
    forget: (ifindex) => {
      promised.delete(ifindex);
    },
    stop: service.stop,
  };
}
