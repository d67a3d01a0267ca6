/** What clients were told is done, and whether the store still says so; and what must hold of the store whatever happened. */
import { stringField } from "./fault-json.ts";

/** What the store holds, below its data prefix. */
export type StoredSite = ReadonlyMap<string, unknown>;

/** What is wrong with one thing that was told; `undefined` when nothing is. */
type Held = (site: StoredSite) => string | undefined;

export interface Ledger {
  /** Told that the guest is there, with the address. */
  guest(name: string, address: string): void;
  /** Told that it is gone. */
  gone(name: string): void;
  /** Told that the guest's NIC is at that port and no other. */
  attached(guest: string, host: string, port: string): void;
  detached(guest: string, host: string, port: string): void;
  /** A client of the guest was told that its lease ends then, not earlier. */
  leased(network: string, address: string, endsAt: number): void;
  /** A change was asked for and no answer came: either will do. */
  unsure(guest: string): void;
  size(): number;
  broken(site: StoredSite): readonly string[];
}

/** Of the guest's one NIC: `HOST/PORT`. */
export const holderOf = (site: StoredSite, guest: string): string | undefined => {
  const holder = stringField(site.get(`claim/${guest}/0`), "holder", "host");
  const port = stringField(site.get(`claim/${guest}/0`), "holder", "port");
  return holder === undefined ? undefined : `${holder}/${port}`;
};

export function createLedger(): Ledger {
  const told = new Map<string, Held>();
  return {
    guest: (name, address) =>
      void told.set(`guest ${name}`, (site) =>
        JSON.stringify(site.get(`guest/${name}`) ?? "").includes(`"${address}"`) ? undefined : `has not ${address}`,
      ),
    gone: (name) =>
      void told.set(`guest ${name}`, (site) => (site.has(`guest/${name}`) ? "is there though removed" : undefined)),
    attached: (guest, host, port) =>
      void told.set(`nic of ${guest}`, (site) => {
        const holder = holderOf(site, guest);
        return holder === `${host}/${port}` ? undefined : `is at ${holder}, not at ${host}/${port}`;
      }),
    detached: (guest, host, port) =>
      void told.set(`nic of ${guest}`, (site) => {
        const attached = stringField(site.get(`attachment/${host}/${port}`), "guest");
        return attached === guest ? `is at ${host}/${port} though detached` : undefined;
      }),
    leased: (network, address, endsAt) =>
      void told.set(`lease ${address}`, (site) => {
        const end = Number(stringField(site.get(`lease/${network}/${address}`), "expiresAt") ?? 0);
        return end >= endsAt ? undefined : `ends ${endsAt - end} ms before it was promised`;
      }),
    unsure: (guest) => {
      for (const what of ["guest", "nic of"]) told.delete(`${what} ${guest}`);
    },
    size: () => told.size,
    broken: (site) =>
      [...told].flatMap(([what, held]) => {
        const wrong = held(site);
        return wrong === undefined ? [] : [`${what} ${wrong}`];
      }),
  };
}

const keysBelow = (site: StoredSite, prefix: string): readonly string[] =>
  [...site.keys()].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));

/** Who has which address, as the guests' own records say, beside the claims on addresses. */
function addressFaults(site: StoredSite): readonly string[] {
  const owners = new Map<string, string>();
  const faults: string[] = [];
  for (const guest of keysBelow(site, "guest/"))
    for (const [, address] of JSON.stringify(site.get(`guest/${guest}`)).matchAll(/"addresses4":\["([\d.]+)"/g)) {
      const other = owners.get(address ?? "");
      if (other !== undefined) faults.push(`${address} is of ${other} and of ${guest}`);
      owners.set(address ?? "", guest);
    }
  for (const key of keysBelow(site, "address/")) {
    const [network, address = ""] = key.split("/");
    const guest = stringField(site.get(`address/${key}`), "guest");
    // Of a guest that went it is kept for a while.
    if (guest !== undefined && owners.has(address) && owners.get(address) !== guest)
      faults.push(`${network} ${address} is kept for ${guest}, and ${owners.get(address)} has it`);
    if (owners.get(address) === guest) owners.delete(address);
  }
  for (const [address, guest] of owners) faults.push(`${guest} has ${address} without a claim on it`);
  return faults;
}

/** Each claim has one port that may answer under its number, and no other port has it. */
function claimFaults(site: StoredSite): readonly string[] {
  return keysBelow(site, "claim/").flatMap((nic) => {
    const claim = site.get(`claim/${nic}`);
    const [holder, port] = [stringField(claim, "holder", "host"), stringField(claim, "holder", "port")];
    const fence = stringField(claim, "fence");
    const open = keysBelow(site, "attachment/").filter((key) => {
      const attachment = site.get(`attachment/${key}`);
      const isOf = `${stringField(attachment, "guest")}/${stringField(attachment, "nic")}` === nic;
      return isOf && stringField(attachment, "fence") === fence;
    });
    if (holder === undefined || (open.length === 1 && open[0] === `${holder}/${port}`)) return [];
    return [`${nic} is claimed by ${holder}/${port}, and open under its number: ${open.join(", ")}`];
  });
}

export const storeFaults = (site: StoredSite): readonly string[] => [...addressFaults(site), ...claimFaults(site)];

/** From `etcdctl get PREFIX --prefix -w json`. */
export function storedSite(json: string, prefix: string): StoredSite {
  const site = new Map<string, unknown>();
  const text = (base64: string): string => Buffer.from(base64, "base64").toString("utf8");
  for (const [, key = "", value = ""] of json.matchAll(/"key":"([^"]*)"[^}]*"value":"([^"]*)"/g))
    site.set(text(key).slice(prefix.length), JSON.parse(text(value)));
  return site;
}
