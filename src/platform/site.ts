/** What an adapter needs to know of the site: whose NIC has which MAC, and how its network is addressed. */
import type { Client } from "../api/client.ts";
import { GuardError } from "../model/errors.ts";
import { type Link4Length, link4Lengths } from "../model/resources.ts";
import { fieldsOf, listOf, numberOf, textOf, textsOf } from "./json.ts";

export interface SiteNic {
  readonly guest: string;
  readonly nic: number;
  readonly network: string;
  readonly mac: string;
  readonly addresses4: readonly string[];
  /** Where it is attached on this host now. */
  readonly port: string | undefined;
}

function nicsOf(guest: string, status: unknown): readonly SiteNic[] {
  return listOf(fieldsOf(status)["nics"]).map((value, nic) => {
    const fields = fieldsOf(value);
    return {
      guest,
      nic,
      network: textOf(fields["network"]) ?? "",
      mac: textOf(fields["mac"]) ?? "",
      addresses4: textsOf(fields["addresses4"]),
      port: textOf(fields["port"]),
    };
  });
}

/** @throws NOT_FOUND */
export async function nicsOfGuest(client: Client, guest: string): Promise<readonly SiteNic[]> {
  return nicsOf(guest, (await client.get("guest", guest)).status);
}

export async function allNics(client: Client): Promise<readonly SiteNic[]> {
  return (await client.list("guest")).flatMap(({ name, status }) => nicsOf(name, status));
}

export interface NetworkView {
  readonly prefix4: string | undefined;
  readonly gateway4: string | undefined;
  readonly prefix6: string | undefined;
  readonly gateway6: string | undefined;
  readonly bridge: string | undefined;
  /** Of a transport network: how long the link of each guest is. */
  readonly link4: Link4Length | undefined;
  readonly mtu: number | undefined;
  readonly dns: {
    readonly nameservers: readonly string[];
    readonly domain: string | undefined;
    readonly search: readonly string[];
  };
}

export function networkView(spec: unknown): NetworkView {
  const fields = fieldsOf(spec);
  const addressing = fieldsOf(fields["addressing"]);
  return {
    prefix4: textOf(fields["prefix4"]),
    gateway4: textOf(fields["gateway4"]),
    prefix6: textOf(fields["prefix6"]),
    gateway6: textOf(fields["gateway6"]),
    bridge: textOf(fieldsOf(fields["wiring"])["bridge"]),
    link4: link4Lengths.find((length) => length === fieldsOf(fields["wiring"])["link4"]),
    mtu: numberOf(addressing["mtu"]),
    dns: {
      nameservers: [...textsOf(addressing["dns"]), ...textsOf(addressing["dns6"])],
      domain: textOf(addressing["domain"]),
      search: textsOf(addressing["search"]),
    },
  };
}

/** `203.0.113.0/24` gives `/24`. */
export const lengthOf = (prefix: string | undefined): string =>
  prefix === undefined ? "" : prefix.slice(prefix.indexOf("/"));

/** The NIC of the guest with that MAC. @throws NOT_FOUND, with what the guest has */
export function nicByMac(nics: readonly SiteNic[], guest: string, mac: string): SiteNic {
  const found = nics.find((nic) => nic.mac === mac.toLowerCase());
  if (found !== undefined) return found;
  const held = nics.map(({ nic, mac: own }) => `${own} (NIC ${nic})`).join(", ") || "no NIC";
  throw new GuardError(
    "NOT_FOUND",
    `MAC ${mac} is none of guest '${guest}', which has ${held}: give the NIC the guest's MAC, or name it in the site`,
    { fields: { guest, mac } },
  );
}
