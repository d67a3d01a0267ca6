/** A site file: its text to validated objects, or one error that tells every fault with its place. */
import type { z } from "zod";
import { parseObjectName } from "../model/names.ts";
import { suggestion } from "../model/nearest.ts";
import { type Kind, kinds, type Resource } from "../model/resources.ts";
import { type Fault, type Locate, placeText, show, siteInvalid } from "./faults.ts";
import { type FieldFault, issueFaults, tidy } from "./issues.ts";
import { objectFaults } from "./rules.ts";
import { documentSchemas, limits } from "./schema.ts";
import { readYaml, type Written } from "./yaml.ts";

export interface SiteFile {
  readonly resources: readonly Resource[];
  /** For faults that are found later, such as those of `checkSite`. */
  readonly locate: Locate;
}

interface ReadObject {
  readonly written: Written;
  readonly resource?: Resource;
  readonly faults: readonly Fault[];
}

const keyOf = ({ kind, name }: { readonly kind: Kind; readonly name: string }): string => `${kind}/${name}`;

function fieldOf(value: unknown, name: "kind" | "name"): unknown {
  return typeof value === "object" && value !== null
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : undefined;
}

function label(kind: Kind, value: unknown, count: number): string {
  const name = fieldOf(value, "name");
  if (typeof name !== "string") return `${kind} (document ${count})`;
  return `${kind} ${parseObjectName(name) ?? show(name)}`;
}

function kindFault(value: unknown): FieldFault {
  const known = `a document is {kind: ${kinds.join(" | ")}, name, spec}`;
  const kind = fieldOf(value, "kind");
  if (typeof value !== "object" || value === null) return { field: [], says: `${known}, not ${show(String(value))}` };
  if (kind === undefined || kind === null) return { field: ["kind"], says: `is missing: ${known}` };
  const near = typeof kind === "string" ? suggestion(kind, kinds) : "";
  return { field: ["kind"], says: `${show(String(kind))} is no kind (there are: ${kinds.join(", ")})${near}` };
}

function validate(
  kind: Kind,
  value: unknown,
): { readonly resource?: Resource; readonly faults: readonly FieldFault[] } {
  const result: z.ZodSafeParseResult<Resource> = documentSchemas[kind].safeParse(value);
  if (result.success) return { resource: result.data, faults: [...objectFaults(result.data)] };
  return { faults: tidy(result.error.issues.flatMap((issue) => issueFaults(kind, issue, value))) };
}

function placed(written: Written, object: string, { field, says, onKey }: FieldFault): Fault {
  return { at: onKey ? written.keyPosition(field) : written.position(field), object, field, says };
}

function readObject(written: Written, index: number): ReadObject {
  const { value } = written;
  const kind = kinds.find((known) => known === fieldOf(value, "kind"));
  if (kind === undefined) return { written, faults: [placed(written, `document ${index + 1}`, kindFault(value))] };
  const object = label(kind, value, index + 1);
  const { resource, faults } = validate(kind, value);
  const list = faults.map((fault) => placed(written, object, fault));
  return resource === undefined ? { written, faults: list } : { written, resource, faults: list };
}

/** Remembers the first object of each name; the later ones are faults. */
function index(objects: readonly ReadObject[]): {
  readonly byKey: ReadonlyMap<string, Written>;
  readonly faults: readonly Fault[];
} {
  const byKey = new Map<string, Written>();
  const faults: Fault[] = [];
  for (const { written, resource } of objects) {
    if (resource === undefined) continue;
    const earlier = byKey.get(keyOf(resource));
    if (earlier === undefined) byKey.set(keyOf(resource), written);
    else {
      const says = `is declared twice; the first is at ${placeText(earlier.position([]))}`;
      faults.push({
        at: written.position(["name"]),
        object: `${resource.kind} ${resource.name}`,
        field: ["name"],
        says,
      });
    }
  }
  return { byKey, faults };
}

function countFaults(count: number, path: string): readonly Fault[] {
  const at = { path, line: 1, column: 1 };
  if (count === 0) return [{ at, field: [], says: "there is no object in the file" }];
  if (count <= limits.fileObjects) return [];
  return [{ at, field: [], says: `the file has ${count} objects; at most ${limits.fileObjects} are read` }];
}

/**
 * @param path the file's name, for the messages
 * @throws SITE_INVALID with all faults; fields: path, line and column of the first, and their number
 */
export function readSite(text: string, path: string): SiteFile {
  const read = readYaml(text, path);
  const uncounted = read.faults.length > 0 ? read.faults : countFaults(read.objects.length, path);
  if (uncounted.length > 0 && read.objects.length === 0) throw siteInvalid(uncounted);
  const objects = read.objects.map(readObject);
  const { byKey, faults } = index(objects);
  const all = [...uncounted, ...objects.flatMap((object) => object.faults), ...faults];
  if (all.length > 0) throw siteInvalid(all);
  return {
    resources: objects.flatMap(({ resource }) => resource ?? []),
    locate: (object, field) => byKey.get(keyOf(object))?.position(field),
  };
}

/** The objects of a site file in its order. @throws SITE_INVALID */
export function loadSite(text: string, path: string): readonly Resource[] {
  return readSite(text, path).resources;
}
