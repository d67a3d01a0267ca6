/** The DHCP responder of this host: which port may be told what, and the journal that makes a promise durable before it is made. */
import type { PortOffer } from "../addressing/responder.ts";
import type { Frames } from "../kernel/frames.ts";
import type { Clock } from "../model/clock.ts";
import { GuardError } from "../model/errors.ts";
import { keys } from "../model/keys.ts";
import { type MacAddress, macFromBytes } from "../model/mac.ts";
import type { ObjectName } from "../model/names.ts";
import type { Attachment, DhcpLease } from "../model/resources.ts";
import { logGroups } from "../ruleset/parts.ts";
import type { Store, Write } from "../store/store.ts";
import type { Conditions } from "./conditions.ts";
import { type DhcpService, type LeaseEntry, startDhcpService } from "./dhcp-service.ts";
import type { Mirror } from "./mirror.ts";
import { portOffer } from "./offers.ts";

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

/** Locally administered, outside the FE:00 space of the `ip` scheme: every responder of every host looks the same to its guests. */
const RESPONDER_MAC: MacAddress = macFromBytes(Uint8Array.of(0xfe, 0xff, 0xff, 0xff, 0xff, 0xfe));

interface PromisedPort {
  readonly offer: PortOffer;
  readonly attachment: Attachment;
  readonly network: ObjectName;
}

const leaseName = ({ network, offer }: PromisedPort): string => `${network}/${offer.address}`;

export function startPortDhcp(parts: DhcpParts): PortDhcp {
  const { frames, store, mirror, clock, conditions } = parts;
  const promised = new Map<number, PromisedPort>();

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
    portOf: (ifindex) => promised.get(ifindex),
    leases: { get: ownLease },
    journal: { append },
    clock,
    serverMac: RESPONDER_MAC,
  });

  return {
    service,
    refresh: (attachment) => {
      const guest = mirror.guests.get(attachment.guest);
      const nic = guest?.nics[attachment.nic];
      const network = nic === undefined ? undefined : mirror.networks.get(nic.network);
      const offer =
        guest === undefined || nic === undefined || network === undefined ? undefined : portOffer(guest, nic, network);
      if (nic === undefined || offer === undefined) promised.delete(attachment.ifindex);
      else promised.set(attachment.ifindex, { offer, attachment, network: nic.network });
    },
    forget: (ifindex) => {
      promised.delete(ifindex);
    },
    stop: service.stop,
  };
}
