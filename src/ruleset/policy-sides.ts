/** Whether the groups of both ends let a flow be opened: the same chains for either end, and for either end taken as the opener. */
import { back, type Chain, type Field, goTo, inSet, is, jumpTo, next, type Rule, rule, when } from "./ast.ts";
import { PROTOCOL } from "./parts.ts";
import {
  type AddressSets,
  CLASS,
  EVERYTHING,
  flowMapped,
  lookups,
  mapped,
  marked,
  NIC,
  refusal,
} from "./policy-parts.ts";
import { serviceRanges } from "./policy-sets.ts";

/** Puts what the sets know of an address into the mark; where they know nothing the next rule is asked, with the mark as it was. */
export const intoMark = (sets: AddressSets, four: Field, six: Field, found: Rule["verdict"]): readonly Rule[] =>
  lookups(sets, four, six).map(([map, ...key]) => rule([], [mapped(map, ...key)], found));

/** Which end of a connection is taken for the one that opened it. */
interface Orientation {
  /** Stands behind the names of its chains. */
  readonly suffix: "" | "_turned";
  readonly opener: readonly [Field, Field];
  readonly opened: readonly [Field, Field];
  /** By protocol, what it was opened to. */
  readonly services: ReadonlyMap<number, Field>;
}
/**
 * The opened end is who answers: the same as who was addressed, or, where the host translates, the guest behind the public address, with its own port.
 * ICMP has no ports to translate, and answers with another type than it asks with.
 */
export const straight: Orientation = {
  suffix: "",
  opener: ["opener4", "opener6"],
  opened: ["answerer4", "answerer6"],
  services: new Map<number, Field>([
    [PROTOCOL.tcp, "answererPort"],
    [PROTOCOL.udp, "answererPort"],
    [PROTOCOL.icmp, "service"],
    [PROTOCOL.icmp6, "service"],
  ]),
};
/** Only of TCP: nothing else is known from the middle on. */
export const turned: Orientation = {
  suffix: "_turned",
  opener: ["answerer4", "answerer6"],
  opened: ["opener4", "opener6"],
  services: new Map<number, Field>([[PROTOCOL.tcp, "openerPort"]]),
};

const ends = ({ suffix, opener, opened }: Orientation): readonly Chain[] => [
  { name: `nic_opener${suffix}`, rules: [rule([], [marked(0)], next), ...intoMark(NIC, ...opener, back)] },
  { name: `nic_opened${suffix}`, rules: [rule([], [marked(0)], next), ...intoMark(NIC, ...opened, back)] },
  { name: `class_opener${suffix}`, rules: [...intoMark(CLASS, ...opener, back), rule([], [marked(0)], back)] },
  {
    // A class that is no more must not stay on the connection; the same value again costs no write.
    name: `class_opened${suffix}`,
    rules: [
      ...lookups(CLASS, ...opened).map(([map, ...key]) => rule([], [flowMapped(map, ...key)], back)),
      rule([], [{ kind: "flowMark", value: 0 }], back),
    ],
  },
];

/** Whether the set of services whose number is in the mark holds what the flow was opened to: then the mark says everything. */
const services = ({ suffix, services: fields }: Orientation): Chain => ({
  name: `services${suffix}`,
  rules: [
    ...serviceRanges.flatMap(({ protocol, name }) => {
      const service = fields.get(protocol);
      if (service === undefined) return [];
      return [
        rule([is("transport", protocol), inSet("service", "mark", "transport", service)], [marked(EVERYTHING)], back),
        rule([is("transport", protocol), inSet(name, "mark", service)], [marked(EVERYTHING)], back),
      ];
    }),
    rule([inSet("protocols", "mark", "transport")], [marked(EVERYTHING)], back),
  ],
});

export const NOBODY = is("mark", 0);
const ALLOWED = when([is("mark", EVERYTHING)], back);

/**
 * The same question for both ends: does the one let it out, does the other let it in. Returns when it does, or when the end is no stateful NIC of this host.
 * Jumps that come back instead of chains that lead on: the kernel follows every path when rules are loaded, sixteen chains deep at most.
 */
function side(name: "out" | "in", orientation: Orientation): Chain {
  const { suffix } = orientation;
  const nic = name === "out" ? "nic_opener" : "nic_opened";
  const judged = name === "out" ? "mark" : "flowMark";
  const [other4, other6] = name === "out" ? orientation.opened : orientation.opener;
  // A prefix that a guest may use holds the public address it uses, too, whoever is behind it.
  const dialled = [rule([], [mapped("out_ranges4", "mark", "opened4")], jumpTo(`services${suffix}`))];
  const [opener, found] = [when([], jumpTo(`class_opener${suffix}`)), jumpTo(`services${suffix}`)];
  return {
    name: `policy_${name}${suffix}`,
    rules: [
      when([], jumpTo(`${nic}${suffix}`)),
      when([NOBODY], back),
      when([], jumpTo(`class_opened${suffix}`)),
      opener,
      rule([], [mapped(`${name}_pairs`, "flowMark", "mark")], found),
      ALLOWED,
      // The mark may hold the services that were not enough.
      opener,
      rule([], [mapped(`${name}_any`, judged)], found),
      ALLOWED,
      opener,
      rule([], [mapped(`${name}_ranges4`, judged, other4)], found),
      rule([], [mapped(`${name}_ranges6`, judged, other6)], found),
      ALLOWED,
      ...(name === "out" && suffix === "" ? [opener, ...dialled, ALLOWED] : []),
      when([], goTo(`refuse_${name}${suffix}`)),
    ],
  };
}

export const judges = (orientation: Orientation): readonly Chain[] => [
  ...ends(orientation),
  refusal(`refuse_out${orientation.suffix}`, `nic_opener${orientation.suffix}`, "policy-egress"),
  refusal(`refuse_in${orientation.suffix}`, `nic_opened${orientation.suffix}`, "policy-ingress"),
  services(orientation),
  side("out", orientation),
  side("in", orientation),
];
