/** The layout of the store. Names, addresses and MACs contain no slash, so a key reads back without doubt. */
import type { Ipv4Address } from "./ipv4.ts";
import type { Ipv6Address } from "./ipv6.ts";
import type { MacAddress } from "./mac.ts";
import type { HostId, InterfaceName, ObjectName } from "./names.ts";

export const keys = {
  network: (name: ObjectName): string => `network/${name}`,
  group: (name: ObjectName): string => `group/${name}`,
  guest: (name: ObjectName): string => `guest/${name}`,
  /** What hosts must know of a NIC of a network that they have a port of. Written with its guest, as the next one is. */
  member: (network: ObjectName, guest: ObjectName, nic: number): string => `member/${network}/${guest}/${nic}`,
  /** The same, of a NIC that carries a group that rules of their own NICs name. */
  carrier: (group: ObjectName, guest: ObjectName, nic: number): string => `carrier/${group}/${guest}/${nic}`,
  /** Who holds an address of a network: the claim two writers can never both get. */
  address: (network: ObjectName, address: Ipv4Address | Ipv6Address): string => `address/${network}/${address}`,
  /** All who have a public address of nat networks, or ports of it. */
  public: (address: Ipv4Address): string => `public/${address}`,
  mac: (mac: MacAddress): string => `mac/${mac}`,
  /** Which host may answer for a NIC of a guest: the one record that every move goes through. */
  claim: (guest: ObjectName, nic: number): string => `claim/${guest}/${nic}`,
  /** Whose a host name is. */
  host: (host: HostId): string => `host/${host}`,
  /** Under a store lease: that host's agent is heard. */
  alive: (host: HostId): string => `alive/${host}`,
  attachment: (host: HostId, port: InterfaceName): string => `attachment/${host}/${port}`,
  dhcpLease: (network: ObjectName, address: Ipv4Address | Ipv6Address): string => `lease/${network}/${address}`,
} as const;

/** Of a restore: its last one, or one that is under way. Whoever sees it change reads everything again. */
export const RESTORE = "restore/mark";

export const kindOf = (key: string): string => key.slice(0, key.indexOf("/"));

/** Of NICs of which no more need be known: made from guests and what they learned. */
export const isMember = (key: string): boolean => /^(?:member|carrier)\//.test(key);
