/** What would become of frames on a host that holds nothing but a site file: no agent, no kernel. What cannot be known so is said. */
import type { Link } from "../kernel/links.ts";
import { macSchemeOf } from "../model/addressing.ts";
import { GuardError } from "../model/errors.ts";
import { ipv4FromBytes } from "../model/ipv4.ts";
import { ipv6FromBytes } from "../model/ipv6.ts";
import { macToBytes } from "../model/mac.ts";
import { type InterfaceName, parseInterfaceName } from "../model/names.ts";
import type { ExplainAnswer, ExplainQuestion, ExplanationView } from "../model/operations.ts";
import type { Attachment, MacScheme, NicSpec, Resource } from "../model/resources.ts";
import { concatKey, hostU32, type PlacedElement } from "../ruleset/element-bytes.ts";
import { type NetworkFacts, networkElements, portElements, suppressElement } from "../ruleset/elements.ts";
import type { World } from "../ruleset/judge.ts";
import { elementsWorld, hostAddresses } from "../ruleset/world.ts";
import { networkFacts, portWish, type SiteView } from "./desired.ts";
import { policyNotes } from "./explain.ts";
import {
  explainedPort,
  framesOf,
  type Learned,
  parseNic,
  phraseContext,
  tellFrames,
  UNHEARD_GATEWAY,
} from "./explain-question.ts";
import type { ExplainedPort } from "./explain-words.ts";
import type { Random } from "./identity.ts";
import { freshSite } from "./site.ts";

/** No interface has it: the guard only asks that it be the same everywhere. */
const IFINDEX = 1;

/** Every bridge is there: what is judged does not depend on it. */
const anyBridge = (name: InterfaceName): Link => ({
  ifindex: IFINDEX + 1,
  name,
  mac: UNHEARD_GATEWAY,
  kind: "bridge",
  up: true,
  master: 0,
  mtu: 1500,
  alias: "",
  bridgePort: undefined,
  carrier: true,
});

function portOf(site: SiteView, target: string): { readonly port: ExplainedPort; readonly spec: NicSpec } {
  const asked = parseNic(target);
  const guest = asked === undefined ? undefined : site.guests.get(asked.guest);
  if (guest === undefined)
    throw new GuardError(
      "NOT_FOUND",
      `there is no guest '${target}' in the file (ports are not known to it: name guest or guest/NIC)`,
      { fields: { guest: target } },
    );
  const nic = asked?.nic ?? 0;
  const [spec, name] = [guest.spec.nics[nic], parseInterfaceName("offline")];
  if (spec === undefined || name === undefined)
    throw new GuardError("NOT_FOUND", `guest '${guest.name}' has no NIC ${nic}: it has ${guest.spec.nics.length}`, {
      fields: { guest: guest.name, nic },
    });
  const attachment: Attachment = {
    port: name,
    ifindex: IFINDEX,
    epoch: "",
    guest: guest.name,
    nic,
    fence: 1,
    since: 0,
  };
  const facts = networkFacts(site);
  const { binding } = portWish(site, facts, attachment, {
    links: { byIndex: () => undefined, byName: anyBridge },
    families: ["inet"],
    nat: true,
  });
  return { port: explainedPort(site, facts, attachment, binding), spec };
}

/** Where the MAC of the gateway is not pinned, it was heard: no guest speaks to anybody before that. */
function heardGateway({ network, gatewayMac }: NetworkFacts): readonly PlacedElement[] {
  if (gatewayMac !== undefined) return [];
  return [{ family: "netdev", set: "gateway_macs", key: concatKey(hostU32(network), macToBytes(UNHEARD_GATEWAY)) }];
}

interface Known {
  readonly world: World;
  /** Whether a verdict hung on whether an address is the host's. */
  askedForHost(): boolean;
}

function knownWorld({ binding, facts, owner }: ExplainedPort, suppression: boolean): Known {
  let asked = false;
  const nobody = hostAddresses([]);
  const isHost: World["isHost"] = (address) => {
    const text = address.length === 4 ? ipv4FromBytes(address) : ipv6FromBytes(address);
    const isGroup = (address[0] ?? 0) >= (address.length === 4 ? 224 : 255);
    asked ||= !isGroup && !nobody(address) && owner(text) === undefined;
    return nobody(address);
  };
  const beats = suppression ? [suppressElement(facts.network)] : [];
  const elements = [...networkElements(facts), ...portElements(binding), ...heardGateway(facts), ...beats];
  return { world: elementsWorld(elements, isHost), askedForHost: () => asked };
}

/** What of the NIC's identity the file leaves to the host. */
function assignedText({ address4, mac }: NicSpec, macScheme: MacScheme | undefined): string {
  const isMacNamed = mac !== undefined || (macScheme !== undefined && macScheme !== "random" && address4 !== undefined);
  return [...(address4 === undefined ? ["address"] : []), ...(isMacNamed ? [] : ["MAC"])].join(" and ");
}

function notesOf(
  port: ExplainedPort,
  spec: NicSpec,
  macScheme: MacScheme | undefined,
  frames: readonly ExplanationView[],
  known: Known,
): readonly string[] {
  const notes: string[] = [...policyNotes(port, frames)];
  const assigned = assignedText(spec, macScheme);
  if (assigned !== "") notes.push(`${assigned} of ${port.nic}: as a host that holds nothing else would assign`);
  if (
    port.facts.gatewayMac === undefined &&
    frames.some(({ hex }) => hex.includes(UNHEARD_GATEWAY.replaceAll(":", "")))
  )
    notes.push(
      `the gateway's MAC is not pinned (gatewayMac): ${UNHEARD_GATEWAY} stands for it, and is taken to have been heard`,
    );
  if (frames.some(({ line, waived }) => line?.reason === "dest-mac" || waived.includes("dest-mac")))
    notes.push("what ARP and ND have named to the port is not known without the agent: nothing is taken to be");
  if (known.askedForHost())
    notes.push("the host's own addresses are not known without the agent: nothing is taken to be the host's");
  return notes;
}

/**
 * @param random for MACs of the scheme `random`
 * @throws NOT_FOUND, PHRASE_INVALID, and what a site that cannot be throws
 */
export function explainOffline(
  resources: readonly Resource[],
  question: ExplainQuestion,
  random: Random,
): ExplainAnswer {
  const site = freshSite(resources, random);
  const { port, spec } = portOf(site, question.target);
  const learned: Learned = { gatewayMac: port.facts.gatewayMac ?? UNHEARD_GATEWAY, neighbour: () => undefined };
  const frames = framesOf(question, () => phraseContext(port, question.direction, learned));
  const network = site.networks.get(spec.network);
  const known = knownWorld(port, network?.suppression === true);
  const told = tellFrames(port, frames, question.direction, known.world);
  return {
    nic: port.nic,
    network: port.network,
    notes: notesOf(port, spec, network === undefined ? undefined : macSchemeOf(network.addressing), told, known),
    frames: told,
  };
}
