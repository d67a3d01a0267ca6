/** What would become of frames at a port of this host: judged by the rules the kernel holds, with what is read back from it now. */

import type { Nft, SetRef } from "../kernel/nft.ts";
import { bytesText, sameBytes } from "../model/bytes.ts";
import { GuardError } from "../model/errors.ts";
import { ipToBytes, isIpv6 } from "../model/ip-block.ts";
import { type MacAddress, macFromBytes } from "../model/mac.ts";
import { type InterfaceName, isGuarded, parseInterfaceName } from "../model/names.ts";
import type { ExplainAnswer, ExplainQuestion, ExplanationView } from "../model/operations.ts";
import { reasonTable } from "../model/reasons.ts";
import type { Attachment } from "../model/resources.ts";
import { HOST_PORT_MAC } from "../model/wiring.ts";
import { type HostDoor, policyNotes } from "../plan/explain.ts";
import {
  explainedPort,
  framesOf,
  frameText,
  type Learned,
  parseNic,
  phraseContext,
  remembering,
  tellFrames,
  UNHEARD_GATEWAY,
} from "../plan/explain-question.ts";
import { isPortChain, type PortWish, portChains } from "../plan/host.ts";
import { hostU32, hostU32At, type PlacedElement } from "../ruleset/element-bytes.ts";
import type { NetworkFacts } from "../ruleset/elements.ts";
import { guardTable } from "../ruleset/guard.ts";
import type { World } from "../ruleset/judge.ts";
import { elementsWorld } from "../ruleset/world.ts";
import type { Core } from "./core.ts";
import { mayStand, whereaboutsOf } from "./moves.ts";
import { pairedView } from "./pairs.ts";

const rangeSets = new Set(guardTable.sets.filter(({ use }) => use === "ranges").map(({ name }) => name));

/** Every set as the kernel has it, each key asked for once. */
export function kernelWorld(nft: Nft, table: string, isHost: World["isHost"]): World {
  const known = new Map<string, PlacedElement | undefined>();
  const ranges = new Map<string, World>();
  const ref = (set: string): SetRef => ({ family: "netdev", table, set });

  /** A kernel lookup wants a whole range where we have a point: these sets are small, and read whole. */
  function findRange(set: string, key: Uint8Array): PlacedElement | undefined {
    const world =
      ranges.get(set) ??
      elementsWorld(
        (nft.elements(ref(set)) ?? []).map((element) => ({ ...element, family: "netdev", set }) as const),
        isHost,
      );
    ranges.set(set, world);
    return world.find(set, key);
  }

  function findOne(set: string, key: Uint8Array): PlacedElement | undefined {
    const text = `${set}/${bytesText(key)}`;
    if (!known.has(text)) {
      const [held] = nft.lookup(ref(set), [key]);
      known.set(text, held === undefined ? undefined : { ...held, family: "netdev", set });
    }
    return known.get(text);
  }

  return { isHost, find: (set, key) => (rangeSets.has(set) ? findRange(set, key) : findOne(set, key)) };
}

/** Behind the interface index or network, and the address. */
const macAt = (key: Uint8Array, offset: number): MacAddress => macFromBytes(key, offset);

/** What the rules have learned, as the kernel has it. */
function learnedOf(
  { parts: { nft }, enforcer }: Core,
  { network, gatewayMac }: NetworkFacts,
  ifindex: number,
): Learned {
  const held = (set: string): readonly Uint8Array[] =>
    (nft.elements({ family: "netdev", table: enforcer.table, set }) ?? []).map(({ key }) => key);
  const heard = (): MacAddress | undefined => {
    const key = held("gateway_macs").find((candidate) => hostU32At(candidate, 0) === network);
    return key === undefined ? undefined : macAt(key, 4);
  };
  return {
    gatewayMac: gatewayMac ?? heard() ?? UNHEARD_GATEWAY,
    neighbour: (address) => {
      const bytes = ipToBytes(address);
      const end = 4 + bytes.length;
      const key = held(isIpv6(address) ? "resolved6" : "resolved4").find(
        (candidate) => hostU32At(candidate, 0) === ifindex && sameBytes(candidate.subarray(4, end), bytes),
      );
      return key === undefined ? undefined : macAt(key, end);
    },
  };
}

/** What the bridge asks of frames that it hands to the host, as the kernel holds it. */
function hostDoor({ parts: { nft, links }, enforcer }: Core, { binding, bridge }: PortWish): HostDoor | undefined {
  const link = links.byIndex(bridge);
  if (link === undefined) return undefined;
  const held = nft.lookup({ family: "bridge", table: enforcer.table, set: "host_open" }, [hostU32(binding.ifindex)]);
  // The guard puts the bridge's MAC in for the one that a brouted guest knows.
  return { mac: binding.brouter === undefined ? link.mac : HOST_PORT_MAC, isOpen: held.length > 0 };
}

const notAttached = (target: string, says: string): GuardError =>
  new GuardError("NOT_FOUND", `${says}; 'vifguard explain -f SITE' asks the site file alone`, { fields: { target } });

/** The attachment a question means; undefined for a guarded port that is nobody's. @throws NOT_FOUND */
function attachmentOf(core: Core, target: string): Attachment | InterfaceName {
  const { mirror, parts } = core;
  const port = parseInterfaceName(target);
  const attachment = port === undefined ? undefined : mirror.attachments.get(port);
  if (attachment !== undefined) return attachment;
  if (port !== undefined && isGuarded(port, parts.portPrefixes) && parts.links.byName(port) !== undefined) return port;
  const asked = parseNic(target);
  const guest = asked === undefined ? undefined : mirror.guests.get(asked.guest);
  if (guest === undefined) throw notAttached(target, `'${target}' is neither a port nor a guest of this host`);
  const own = [...mirror.attachments.values()]
    .filter((candidate) => candidate.guest === guest.name)
    .sort((a, b) => a.nic - b.nic || Number(mayStand(core, b)) - Number(mayStand(core, a)));
  const found = own.find(({ nic }) => asked?.nic === undefined || nic === asked.nic);
  if (found !== undefined) return found;
  throw notAttached(
    target,
    asked?.nic === undefined
      ? `guest '${guest.name}' has no port on this host`
      : `NIC ${asked.nic} of guest '${guest.name}' has no port on this host`,
  );
}

/** By name, or down because its rules cannot be had: nothing passes, and no rule need be asked. */
function shutAnswer(port: InterfaceName, why: string, question: ExplainQuestion): ExplainAnswer {
  const { direction, phrase } = question;
  const text = { frame: phrase ?? "any frame", hex: "" };
  const given =
    (question.frames ?? []).length === 0
      ? [text]
      : framesOf({ ...question, frames: question.frames ?? [] }, never).map(frameText);
  const view = (frame: Pick<ExplanationView, "frame" | "hex">): ExplanationView => ({
    verdict: "drop",
    sentence: `dropped: unbound – ${why}: nothing passes, whatever it is`,
    direction,
    line: { reason: "unbound", section: 5, says: reasonTable.unbound.says },
    observed: false,
    waived: [],
    chains: [],
    ...frame,
  });
  return { port, notes: [], frames: given.map(view) };
}

function never(): never {
  throw new GuardError("PHRASE_INVALID", "a port that is nobody's has no phrases");
}

function notesOf(
  core: Core,
  { port, binding }: PortWish,
  gateway: MacAddress,
  views: readonly ExplanationView[],
): readonly string[] {
  const { nft } = core.parts;
  const isWhole = portChains(core.enforcer.table, port, binding).every((chain) =>
    isPortChain(chain, nft.portChain(core.enforcer.table, chain.chain)),
  );
  const spoken = gateway === UNHEARD_GATEWAY && views.some(({ hex }) => hex.includes(gateway.replaceAll(":", "")));
  return [
    ...(isWhole ? [] : [`the chains of port ${port} are not in place: this is what they would do`]),
    ...(spoken ? [`the gateway was not heard yet: ${gateway} stands for its MAC`] : []),
  ];
}

function answerFor(core: Core, attachment: Attachment, wish: PortWish, question: ExplainQuestion): ExplainAnswer {
  const { nft, links } = core.parts;
  const { binding } = wish;
  const explained = explainedPort(core.mirror, core.facts(), attachment, binding);
  const learned = learnedOf(core, explained.facts, binding.ifindex);
  const frames = framesOf(question, () => phraseContext(explained, question.direction, learned));
  const isHost = remembering((octets) =>
    links.isOwnAddress(Uint8Array.from(octets.split("."), Number), binding.ifindex),
  );
  const world = kernelWorld(nft, core.enforcer.table, (address) => isHost(address.join(".")));
  const views = tellFrames(explained, frames, question.direction, world, hostDoor(core, wish));
  const notes = [...notesOf(core, wish, learned.gatewayMac, views), ...policyNotes(explained, views)];
  return { nic: explained.nic, port: attachment.port, network: explained.network, notes, frames: views };
}

/** @throws NOT_FOUND, PHRASE_INVALID */
export function explain(core: Core, question: ExplainQuestion): ExplainAnswer {
  const found = attachmentOf(core, question.target);
  if (typeof found === "string") return shutAnswer(found, `port ${found} is attached to nobody`, question);
  const state = core.ports.get(found.port);
  if (state?.wish !== undefined) return answerFor(core, found, state.wish, question);
  const elsewhere = state === undefined ? undefined : (pairedView(core, state).why ?? whereaboutsOf(core, state));
  const why = state?.error?.message ?? elsewhere ?? "it is not enforced yet";
  return shutAnswer(found.port, `port ${found.port} stays shut (${why})`, question);
}
