/** Where a command gets the site from: the agent, which knows who every NIC came to be, or files alone. */

import type { Client } from "../api/client.ts";
import { type ExportedSite, type MacMatters, undecidedMacs } from "../export/site.ts";
import { GuardError } from "../model/errors.ts";
import { parseIpv4 } from "../model/ipv4.ts";
import { parseIpv6 } from "../model/ipv6.ts";
import { parseMac } from "../model/mac.ts";
import type { ObjectName } from "../model/names.ts";
import type { ObjectView } from "../model/operations.ts";
import type { Guest, NetworkSpec, NicIdentity } from "../model/resources.ts";
import { fieldsOf, listOf, textOf, textsOf } from "../platform/json.ts";
import { clientFor } from "./agent-client.ts";
import type { Input, Io, OptionSpec } from "./command.ts";
import { drawRandom, readSite } from "./site-files.ts";

export interface SiteSource {
  read(): Promise<ExportedSite>;
  /** The same text twice: nothing was written in between. */
  stamp(): Promise<string>;
}

function strange(view: ObjectView): GuardError {
  return new GuardError("INTERNAL", `${view.kind} '${view.name}': the agent's answer is not one of this version`);
}

type Schemas = typeof import("../config/schema.ts").documentSchemas;

function networkOf(schemas: Schemas, view: ObjectView): readonly [ObjectName, NetworkSpec] {
  const read = schemas.network.safeParse({ kind: view.kind, name: view.name, spec: view.spec });
  if (!read.success) throw strange(view);
  return [read.data.name, read.data.spec];
}

function identitiesOf(view: ObjectView, networks: readonly ObjectName[]): readonly NicIdentity[] {
  return listOf(fieldsOf(view.status)["nics"]).map((value, n) => {
    const nic = fieldsOf(value);
    const mac = parseMac(textOf(nic["mac"]) ?? "");
    const addresses4 = textsOf(nic["addresses4"]).flatMap((address) => parseIpv4(address) ?? []);
    const network = networks[n];
    if (mac === undefined || network === undefined) throw strange(view);
    // Of learned addresses, which are none of the NIC's own making.
    const learned = nic["addresses6"] === undefined ? undefined : textsOf(nic["addresses6"]);
    const addresses6 = learned?.flatMap((address) => parseIpv6(address) ?? []);
    return { network, mac, addresses4, ...(addresses6 === undefined ? {} : { addresses6 }) };
  });
}

function guestOf(schemas: Schemas, view: ObjectView): readonly [ObjectName, Guest] {
  const read = schemas.guest.safeParse({ kind: view.kind, name: view.name, spec: view.spec });
  if (!read.success) throw strange(view);
  const { name, spec } = read.data;
  const nics = identitiesOf(
    view,
    spec.nics.map(({ network }) => network),
  );
  return [name, { name, spec, nics }];
}

function agentSource(client: Client): SiteSource {
  return {
    read: async () => {
      const [networks, guests] = [await client.list("network"), await client.list("guest")];
      // Only here: it takes ten times as long to load as everything a hook needs.
      const { documentSchemas } = await import("../config/schema.ts");
      return {
        networks: new Map(networks.map((view) => networkOf(documentSchemas, view))),
        guests: new Map(guests.map((view) => guestOf(documentSchemas, view))),
      };
    },
    stamp: async () => {
      const { startedAt, store } = await client.status();
      return `${startedAt}/${store.revision}`;
    },
  };
}

/** @throws NOT_EXPORTABLE when a MAC is not to be known from a file */
function assertDecided(site: ExportedSite, matters: MacMatters): void {
  const [first, ...rest] = undecidedMacs(site, matters);
  if (first === undefined) return;
  const more = rest.length === 0 ? "" : ` (and of ${rest.length} more)`;
  throw new GuardError(
    "NOT_EXPORTABLE",
    `the MAC of ${first}${more} is drawn when the site is applied: export from the agent (without -f), name the MAC, or use macScheme: ip`,
  );
}

function fileSource(paths: readonly string[], matters: MacMatters, io: Io): SiteSource {
  const texts = (): Promise<readonly string[]> => Promise.all(paths.map((path) => io.readFile(path)));
  return {
    read: async () => {
      const { freshSite } = await import("../plan/site.ts");
      const site = freshSite(await readSite(paths, io), drawRandom);
      assertDecided(site, matters);
      return site;
    },
    stamp: async () => JSON.stringify(await texts()),
  };
}

/** Of every command that takes its site from here. */
export const siteFileOption = {
  type: "string",
  short: "f",
  value: "FILE",
  multiple: true,
  text: "from this site file, not from the agent: needs neither agent nor root",
} as const satisfies OptionSpec;

export function sourceOf(input: Input, io: Io, matters: MacMatters): SiteSource {
  const files = input.options("file");
  return files.length > 0 ? fileSource(files, matters, io) : agentSource(clientFor(input, io));
}
