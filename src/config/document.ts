/** Back from an object to the form a site file has, so that what was read can be shown, kept and applied again. */
import { ipBlockText } from "../model/ip-block.ts";
import { unreachable } from "../model/never.ts";
import type { GroupSpec } from "../model/policy.ts";
import type { Kind, NetworkSpec, NicSpec, Resource } from "../model/resources.ts";
import { linkLength } from "../model/transport.ts";
import { ruleForm } from "./policy-text.ts";
import { rangeText } from "./rules.ts";

/** Plain JSON: text of it is a site file that `loadSite` reads to the same object. */
export interface SiteDocument {
  readonly kind: Kind;
  readonly name: string;
  readonly spec: object;
}

/** The gateway of a transport network was filled in. */
function networkForm({ gateway4, ...spec }: NetworkSpec): object {
  const gateway = linkLength(spec.wiring) === undefined ? { gateway4 } : {};
  return { ...spec, ...gateway, range4: spec.range4.map(rangeText) };
}

const nicForm = ({ addresses, allowedPairs, ...rest }: NicSpec): object => ({
  ...rest,
  addresses: addresses.map(ipBlockText),
  allowedPairs: allowedPairs.map(({ what, ...pair }) => ({ address: ipBlockText(what), ...pair })),
});

const groupForm = ({ ingress, egress }: GroupSpec): object => ({
  ingress: ingress.map(ruleForm("from")),
  ...(egress === undefined ? {} : { egress: egress.map(ruleForm("to")) }),
});

export function toDocument(resource: Resource): SiteDocument {
  const { kind, name } = resource;
  switch (kind) {
    case "network":
      return { kind, name, spec: networkForm(resource.spec) };
    case "group":
      return { kind, name, spec: groupForm(resource.spec) };
    case "guest":
      return { kind, name, spec: { ...resource.spec, nics: resource.spec.nics.map(nicForm) } };
    default:
      return unreachable(kind);
  }
}
