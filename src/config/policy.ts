/** The rules of a security group, as they are written. */
import { z } from "zod";
import type { GroupRule, Peer, PortRange, Service } from "../model/policy.ts";
import { portRangeText } from "../model/services.ts";
import { parsed, parsedNumber, typeNames } from "./fields.ts";
import { icmpTypeOf, icmpTypeText, type ProtocolWord, portRange, prefix, protocol } from "./policy-text.ts";
import { objectName } from "./text.ts";

const named = z.strictObject({
  group: parsed(objectName, "NICs that carry this group, on whatever network.").exactOptional(),
  prefix: parsed(prefix, "Addresses of this prefix.").exactOptional(),
});

function peer(text: string) {
  return z
    .union([z.enum(["any", "network"]), named])
    .transform((value, context): Peer => {
      if (typeof value === "string") return { kind: value };
      const { group, prefix: addresses } = value;
      if (group !== undefined && addresses === undefined) return { kind: "group", group };
      if (addresses !== undefined && group === undefined) return addresses;
      context.addIssue({ code: "custom", message: "must name one of group and prefix" });
      return z.NEVER;
    })
    .register(typeNames, { type: "any | network | {group} | {prefix}" })
    .describe(text);
}

const serviceFields = {
  protocol: parsedNumber(protocol, "Protocol, by name or IP protocol number; `any` is everything of both families."),
  ports: z
    .array(parsedNumber(portRange, "Port or range."))
    .min(1)
    .max(64)
    .exactOptional()
    .describe("Ports of tcp or udp that the flow is opened to; all of them without it."),
  type: z
    .union([z.int().min(0).max(255), z.string()])
    .register(typeNames, { type: icmpTypeText })
    .exactOptional()
    .describe("Type of icmp or icmpv6 that opens the flow; all that do without it."),
  code: z.int().min(0).max(255).exactOptional().describe("Code of the type; all of them without it."),
};

interface WrittenService {
  readonly protocol: ProtocolWord;
  readonly ports?: readonly PortRange[];
  readonly type?: number | string;
  readonly code?: number;
}

/** Reports every part that the protocol does not have, so that nothing is left out in silence. */
function assertParts(written: WrittenService, context: z.core.$RefinementCtx<unknown>): void {
  const { protocol: word, ports, type, code } = written;
  const fault = (field: string, message: string) => context.addIssue({ code: "custom", message, path: [field] });
  const isIcmp = word === "icmp" || word === "icmpv6";
  if (ports !== undefined && word !== "tcp" && word !== "udp")
    fault("ports", `ports go with tcp or udp, not with ${word}`);
  if (type !== undefined && !isIcmp) fault("type", `a type goes with icmp or icmpv6, not with ${word}`);
  if (code !== undefined && !isIcmp) fault("code", `a code goes with icmp or icmpv6, not with ${word}`);
  if (code !== undefined && isIcmp && type === undefined) fault("code", "a code needs its type");
  for (const [n, range] of (ports ?? []).entries()) {
    const met = ports?.slice(0, n).find(({ first, last }) => range.first <= last && first <= range.last);
    if (met !== undefined)
      context.addIssue({
        code: "custom",
        message: `${portRangeText(range)} overlaps ${portRangeText(met)} of the same rule`,
        path: ["ports", n],
      });
  }
}

function serviceOf(written: WrittenService, context: z.core.$RefinementCtx<unknown>): Service {
  const { protocol: word, ports = [], type: writtenType, code } = written;
  assertParts(written, context);
  if (word === "any") return { kind: "any" };
  if (word === "tcp" || word === "udp") return { kind: word, ports: [...ports].sort((a, b) => a.first - b.first) };
  if (typeof word === "number") return { kind: "protocol", number: word };
  if (writtenType === undefined) return { kind: word };
  const type = icmpTypeOf(word, writtenType);
  if (typeof type === "string") {
    context.addIssue({ code: "custom", message: type, path: ["type"] });
    return z.NEVER;
  }
  return { kind: word, type, ...(code === undefined ? {} : { code }) };
}

const ingressRule = z
  .strictObject({
    ...serviceFields,
    from: peer("Who may open the flow: anyone, the NIC's own network, a group, a prefix."),
  })
  .transform(({ from, ...written }, context): GroupRule => ({ service: serviceOf(written, context), peer: from }));
const egressRule = z
  .strictObject({
    ...serviceFields,
    to: peer("Where the guest may open flows to: anywhere, its own network, a group, a prefix."),
  })
  .transform(({ to, ...written }, context): GroupRule => ({ service: serviceOf(written, context), peer: to }));

export const groupSpec = z.strictObject({
  ingress: z
    .array(ingressRule)
    .max(256)
    .default([])
    .describe("Who may open flows to the members, and to what. Without rules nobody. Answers of a flow pass with it."),
  egress: z
    .array(egressRule)
    .max(256)
    .exactOptional()
    .describe("What the members may open flows to. Without it everything; an empty list is nothing."),
});
