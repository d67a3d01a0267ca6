/** What a plan would change, as people read it. */
import { isLearned } from "../model/addressing.ts";
import { unreachable } from "../model/never.ts";
import type { GroupSpec } from "../model/policy.ts";
import type {
  Addressing,
  Guest,
  GuestSpec,
  NetworkSpec,
  NicIdentity,
  NicSpec,
  PublicService,
  Resource,
} from "../model/resources.ts";
import { portRangeText } from "../model/services.ts";
import { linkLength } from "../model/transport.ts";
import { wiringText } from "../model/wiring.ts";
import { differences, toJson } from "./json.ts";
import { ruleText } from "./policy-words.ts";

type Sentences = readonly string[];

const addressesText = ({ addresses4, addresses6, mac }: NicIdentity): string =>
  `${addresses6 === undefined ? addresses4.join(", ") : "what DHCP brings"} (${mac})`;

const serviceText = ({ public4, protocol, ports, to }: PublicService): string =>
  `${public4} ${protocol} ${ports.map(portRangeText).join(", ")}${to === undefined ? "" : ` to ${to}`}`;

/** What a new NIC has outside. */
function publicText({ public4, services = [] }: NicSpec): string {
  const all = [...(public4 === undefined ? [] : [public4]), ...services.map(serviceText)];
  return all.length === 0 ? "" : `, public ${all.join("; ")}`;
}

/** Services as people say them. */
const guestForm = ({ nics, ...spec }: GuestSpec): object => ({
  ...spec,
  nics: nics.map(({ services, ...nic }) =>
    services === undefined ? nic : { ...nic, services: services.map(serviceText).join("; ") },
  ),
});

/** Ranges as they are written in a file, not as two fields each. */
const networkForm = (spec: NetworkSpec): object => ({
  ...spec,
  range4: spec.range4.map(({ first, last }) => (first === last ? first : `${first}-${last}`)),
  addressing: addressingForm(spec.addressing),
});

const addressingForm = (addressing: Addressing): object =>
  !isLearned(addressing)
    ? { ...addressing, routes: addressing.routes.map(({ to, via }) => `${to} via ${via}`) }
    : addressing;

const groupForm = ({ ingress, egress }: GroupSpec): object => ({
  ingress: ingress.map((rule) => ruleText(rule, "from")),
  egress: egress === undefined ? "everything" : egress.map((rule) => ruleText(rule, "to")),
});

const changed = (before: object, after: object): Sentences =>
  differences(toJson(before), toJson(after)).map(({ text }) => text);

function nicSentences(
  before: NicIdentity | undefined,
  after: NicIdentity | undefined,
  nic: number,
  spec: NicSpec | undefined,
): Sentences {
  if (before === undefined) {
    const outside = spec === undefined ? "" : publicText(spec);
    return after === undefined ? [] : [`assign ${addressesText(after)} on ${after.network}${outside}`];
  }
  if (after === undefined) return [`remove NIC ${nic}, release ${addressesText(before)} on ${before.network}`];
  const [from, to] = [addressesText(before), addressesText(after)];
  if (before.network !== after.network)
    return [`move NIC ${nic} from ${before.network} to ${after.network}, ${from} to ${to}`];
  return from === to ? [] : [`change NIC ${nic} on ${after.network} from ${from} to ${to}`];
}

/** What no sentence about a NIC's identity tells. */
const ownFields: ReadonlySet<string> = new Set([
  "groups",
  "address6",
  "addresses",
  "allowedPairs",
  "roles",
  "unchecked",
  "mode",
  "rates",
  "connections",
  "public4",
  "services",
] satisfies (keyof NicSpec)[]);

/** Fields that only repeat what a sentence about the NIC says already. */
const repeats = (path: string, nics: ReadonlySet<number>): boolean => {
  const [, nic, field] = /^nics\[(\d+)\](?:\.(\w+))?/.exec(path) ?? [];
  return nic !== undefined && !(field !== undefined && ownFields.has(field)) && nics.has(Number(nic));
};

function guestChanges(before: Guest, after: Guest): Sentences {
  const count = Math.max(before.nics.length, after.nics.length);
  const nics = Array.from({ length: count }, (_, n) =>
    nicSentences(before.nics[n], after.nics[n], n, after.spec.nics[n]),
  );
  const told = new Set(nics.flatMap((sentences, n) => (sentences.length > 0 ? n : [])));
  const fields = differences(toJson(guestForm(before.spec)), toJson(guestForm(after.spec))).filter(
    ({ path }) => !repeats(path, told),
  );
  return [...nics.flat(), ...fields.map(({ text }) => text)];
}

const countText = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;

/** What there is to take addresses from. */
export function prefixText({ prefix4, gateway4, wiring }: NetworkSpec): string {
  return linkLength(wiring) === undefined ? `${prefix4} with gateway ${gateway4}` : prefix4;
}

function createdText(resource: Exclude<Resource, { kind: "guest" }>): string {
  switch (resource.kind) {
    case "network":
      return `create ${prefixText(resource.spec)} ${wiringText(resource.spec.wiring)}`;
    case "group": {
      const { ingress, egress } = resource.spec;
      const out = egress === undefined ? "everything out" : countText(egress.length, "egress rule");
      return `create with ${countText(ingress.length, "ingress rule")}, ${out}`;
    }
    default:
      return unreachable(resource);
  }
}

const about = (kind: Resource["kind"], name: string, says: Sentences): Sentences =>
  says.map((sentence) => `${kind} ${name}: ${sentence}`);

export function networkSentences(name: string, before: NetworkSpec, after: NetworkSpec): Sentences {
  return about("network", name, changed(networkForm(before), networkForm(after)));
}

export function groupSentences(name: string, before: GroupSpec, after: GroupSpec): Sentences {
  return about("group", name, changed(groupForm(before), groupForm(after)));
}

export function guestSentences(before: Guest | undefined, after: Guest): Sentences {
  const says = guestChanges(before ?? { name: after.name, spec: after.spec, nics: [] }, after);
  return about("guest", after.name, says);
}

export function createdSentences(resource: Exclude<Resource, { kind: "guest" }>): Sentences {
  return about(resource.kind, resource.name, [createdText(resource)]);
}

export function deletedSentences(kind: Resource["kind"], name: string, released: readonly NicIdentity[]): Sentences {
  const says = released.map((nic) => `release ${addressesText(nic)} on ${nic.network}`);
  return about(kind, name, ["delete", ...says]);
}
