/** What a container runtime asks, from its environment and standard input: a call, or the error that the specification has for it. */
import { parseIp } from "../model/ip-block.ts";
import { type MacAddress, parseMac } from "../model/mac.ts";
import { parseInterfaceName, parsePortPrefix } from "../model/names.ts";
import { suggestion } from "../model/nearest.ts";
import { type Fields, fieldsOf, isFields, listOf, parseJson, textOf, textsOf } from "./json.ts";

/** Well-known codes of the specification, section "Error"; from 100 on they are ours. */
export const cniCodes = {
  version: 1,
  field: 2,
  container: 3,
  environment: 4,
  io: 5,
  decode: 6,
  config: 7,
  later: 11,
  unavailable: 50,
  refused: 100,
} as const;

export interface CniFault {
  readonly kind: "fault";
  readonly cniVersion: string;
  readonly code: number;
  readonly msg: string;
  readonly details?: string;
}

export const cniVersions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = (typeof cniVersions)[number];
/** Of answers to those that speak none of them. */
export const NEWEST: CniVersion = "1.1.0";

export const cniCommands = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"] as const;
export type CniCommand = (typeof cniCommands)[number];

export interface Attachment {
  readonly container: string;
  readonly ifname: string;
}

export interface CniConfig {
  readonly cniVersion: CniVersion;
  readonly network: string;
  readonly guest: string | undefined;
  readonly nic: number | undefined;
  readonly portPrefix: string;
  readonly mtu: number | undefined;
  readonly socket: string | undefined;
  /** As it came: what is not changed goes on to the next plugin untouched. */
  readonly prevResult: Fields | undefined;
  readonly valid: readonly Attachment[];
}

export interface CniCall {
  readonly kind: "call";
  readonly command: Exclude<CniCommand, "VERSION">;
  readonly config: CniConfig;
  /** Empty strings where the command needs none. */
  readonly attachment: Attachment;
  readonly netns: string | undefined;
  readonly wish: Wish;
}

/** Which guest it is, and what the user asked the runtime for. */
export interface Wish {
  readonly guest: string | undefined;
  readonly nic: number | undefined;
  readonly mac: MacAddress | undefined;
  readonly address: string | undefined;
}

export interface CniVersionCall {
  readonly kind: "version";
  readonly cniVersion: string;
}

type Env = Readonly<Record<string, string | undefined>>;

const fault = (code: number, msg: string, details?: string, cniVersion: string = NEWEST): CniFault => ({
  kind: "fault",
  cniVersion,
  code,
  msg,
  ...(details === undefined ? {} : { details }),
});
export const isFault = (value: { readonly kind?: unknown }): value is CniFault => value.kind === "fault";

const isCommand = (text: string | undefined): text is CniCommand => cniCommands.some((command) => command === text);
const isVersion = (text: string | undefined): text is CniVersion => cniVersions.some((version) => version === text);

/** What a command cannot do without. */
const needed: Readonly<Record<CniCommand, readonly string[]>> = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME"],
  GC: [],
  STATUS: [],
  VERSION: [],
};
const since: Readonly<Partial<Record<CniCommand, CniVersion>>> = { CHECK: "0.4.0", GC: "1.1.0", STATUS: "1.1.0" };
const order = (version: CniVersion): number => cniVersions.indexOf(version);

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

function environmentFault(command: CniCommand, env: Env): CniFault | undefined {
  const missing = needed[command].filter((name) => (env[name] ?? "") === "");
  if (missing.length > 0) return fault(cniCodes.environment, `${missing.join(", ")} missing for ${command}`);
  if (!needed[command].includes("CNI_CONTAINERID")) return undefined;
  if (!NAME.test(env["CNI_CONTAINERID"] ?? ""))
    return fault(
      cniCodes.environment,
      `CNI_CONTAINERID ${JSON.stringify(env["CNI_CONTAINERID"])} is not a container ID`,
    );
  if (parseInterfaceName(env["CNI_IFNAME"] ?? "") === undefined)
    return fault(cniCodes.environment, `CNI_IFNAME ${JSON.stringify(env["CNI_IFNAME"])} is not an interface name`);
  return undefined;
}

/** Fields of the specification and of its conventions, which runtimes add, and ours. */
const ourFields = ["guest", "nic", "portPrefix", "mtu", "socket"];
const theirFields = [
  "cniVersion",
  "cniVersions",
  "name",
  "type",
  "args",
  "capabilities",
  "runtimeConfig",
  "dns",
  "prevResult",
  "disableCheck",
  "disableGC",
  "loadOnlyInlinedPlugins",
];

function unknownField(fields: Fields): CniFault | undefined {
  const found = Object.entries(fields).find(
    ([key]) => !ourFields.includes(key) && !theirFields.includes(key) && !key.startsWith("cni.dev/"),
  );
  if (found === undefined) return undefined;
  const [key, value] = found;
  const why = key === "ipam" ? ": the site decides addresses" : suggestion(key, ourFields);
  return fault(cniCodes.field, `unsupported field '${key}': ${JSON.stringify(value)}${why}`);
}

function badField(fields: Fields): string | undefined {
  const portPrefix = fields["portPrefix"] ?? DEFAULT_PREFIX;
  const [name, guest, socket] = [fields["name"], fields["guest"], fields["socket"]];
  const [nic, mtu] = [fields["nic"], fields["mtu"]];
  const isCount = (value: unknown, least: number, most: number): boolean =>
    value === undefined || (Number.isInteger(value) && Number(value) >= least && Number(value) <= most);
  if (typeof name !== "string" || !NAME.test(name)) return `name ${JSON.stringify(name)} is not a network name`;
  if (guest !== undefined && typeof guest !== "string") return "guest is not text";
  if (socket !== undefined && typeof socket !== "string") return "socket is not text";
  if (!isCount(nic, 0, 255)) return `nic ${JSON.stringify(nic)} is not a number 0-255`;
  if (!isCount(mtu, 68, 65_535)) return `mtu ${JSON.stringify(mtu)} is not a number 68-65535`;
  if (typeof portPrefix !== "string" || parsePortPrefix(portPrefix) === undefined || portPrefix.length > LONGEST_PREFIX)
    return `portPrefix ${JSON.stringify(portPrefix)} cannot begin a port name (at most ${LONGEST_PREFIX} characters)`;
  return undefined;
}

const DEFAULT_PREFIX = "vnet";
/** Leaves seven of fifteen characters to tell containers apart. */
const LONGEST_PREFIX = 8;

function attachmentsOf(value: unknown): readonly Attachment[] {
  return listOf(value).map((item) => {
    const fields = fieldsOf(item);
    return { container: textOf(fields["containerID"]) ?? "", ifname: textOf(fields["ifname"]) ?? "" };
  });
}

function configOf(text: string): CniConfig | CniFault {
  const json = parseJson(text);
  if (json === undefined || !isFields(json.value))
    return fault(cniCodes.decode, "the network configuration on standard input is not a JSON object");
  const fields = json.value;
  const cniVersion = textOf(fields["cniVersion"]);
  if (!isVersion(cniVersion))
    return fault(
      cniCodes.version,
      "incompatible CNI versions",
      `config is ${JSON.stringify(cniVersion ?? "")}, plugin supports ${JSON.stringify(cniVersions)}`,
    );
  const unknown = unknownField(fields);
  if (unknown !== undefined) return { ...unknown, cniVersion };
  const bad = badField(fields);
  if (bad !== undefined) return fault(cniCodes.config, bad, undefined, cniVersion);
  const prevResult = fields["prevResult"];
  return {
    cniVersion,
    network: textOf(fields["name"]) ?? "",
    guest: textOf(fields["guest"]),
    nic: typeof fields["nic"] === "number" ? fields["nic"] : undefined,
    portPrefix: textOf(fields["portPrefix"]) ?? DEFAULT_PREFIX,
    mtu: typeof fields["mtu"] === "number" ? fields["mtu"] : undefined,
    socket: textOf(fields["socket"]),
    prevResult: isFields(prevResult) ? prevResult : undefined,
    valid: attachmentsOf(fields["cni.dev/valid-attachments"]),
  };
}

const knownArgs = [
  "IgnoreUnknown",
  "K8S_POD_NAME",
  "K8S_POD_NAMESPACE",
  "K8S_POD_INFRA_CONTAINER_ID",
  "K8S_POD_UID",
  "MAC",
  "IP",
  "VIFGUARD_GUEST",
  "VIFGUARD_NIC",
];

function parseArgs(text: string): ReadonlyMap<string, string> | CniFault {
  const args = new Map<string, string>();
  for (const pair of text.split(";").filter((part) => part !== "")) {
    const equals = pair.indexOf("=");
    if (equals < 1) return fault(cniCodes.environment, `CNI_ARGS: ${JSON.stringify(pair)} is not KEY=VALUE`);
    args.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  const isTolerant = ["1", "true"].includes((args.get("IgnoreUnknown") ?? "").toLowerCase());
  const unknown = [...args.keys()].find((key) => !knownArgs.includes(key));
  if (unknown !== undefined && !isTolerant)
    return fault(cniCodes.environment, `CNI_ARGS: unknown key ${JSON.stringify(unknown)}`);
  return args;
}

/** Two tenants may both have a pod `db`: with a namespace the guest is `db.namespace`. */
function podGuest(args: ReadonlyMap<string, string>): string | undefined {
  const [pod, namespace] = [args.get("K8S_POD_NAME"), args.get("K8S_POD_NAMESPACE")];
  return pod === undefined || namespace === undefined ? pod : `${pod}.${namespace}`;
}

const bare = (address: string | undefined): string | undefined => address?.split("/")[0];

/** What the user asked for comes by CNI_ARGS (podman) or by the capabilities `mac` and `ips` (runtimeConfig). */
function wishOf(config: CniConfig, runtime: Fields, argsText: string): Wish | CniFault {
  const args = parseArgs(argsText);
  if ("kind" in args) return args;
  const [macText, addressText] = [
    textOf(runtime["mac"]) ?? args.get("MAC"),
    bare(textsOf(runtime["ips"])[0] ?? args.get("IP")),
  ];
  const mac = macText === undefined ? undefined : parseMac(macText);
  if (macText !== undefined && mac === undefined)
    return fault(cniCodes.environment, `MAC ${JSON.stringify(macText)} is not a MAC address (CNI_ARGS, runtimeConfig)`);
  if (addressText !== undefined && parseIp(addressText) === undefined)
    return fault(cniCodes.environment, `IP ${JSON.stringify(addressText)} is not an address (CNI_ARGS, runtimeConfig)`);
  const nic = args.get("VIFGUARD_NIC");
  if (nic !== undefined && !/^\d{1,3}$/.test(nic))
    return fault(cniCodes.environment, `CNI_ARGS: VIFGUARD_NIC ${JSON.stringify(nic)} is not a number`);
  return {
    guest: args.get("VIFGUARD_GUEST") ?? config.guest ?? podGuest(args),
    nic: nic === undefined ? config.nic : Number(nic),
    mac,
    address: addressText,
  };
}

function versionCall(stdin: string): CniVersionCall {
  return { kind: "version", cniVersion: textOf(fieldsOf(parseJson(stdin)?.value)["cniVersion"]) ?? NEWEST };
}

/** The whole question. Errors carry the version of the configuration as soon as it is known. */
export function parseCall(env: Env, stdin: string): CniCall | CniVersionCall | CniFault {
  const command = env["CNI_COMMAND"];
  if (!isCommand(command))
    return fault(
      cniCodes.environment,
      `CNI_COMMAND ${JSON.stringify(command ?? "")} is not one of ${cniCommands.join(", ")}`,
    );
  if (command === "VERSION") return versionCall(stdin);
  const config = configOf(stdin);
  if ("kind" in config) return config;
  const { cniVersion } = config;
  const wrong = environmentFault(command, env);
  if (wrong !== undefined) return { ...wrong, cniVersion };
  const first = since[command];
  if (first !== undefined && order(cniVersion) < order(first))
    return fault(cniCodes.version, `config version does not allow ${command}`, `it comes with ${first}`, cniVersion);
  const runtime = fieldsOf(fieldsOf(parseJson(stdin)?.value)["runtimeConfig"]);
  const wish = wishOf(config, runtime, env["CNI_ARGS"] ?? "");
  if ("kind" in wish) return { ...wish, cniVersion };
  return {
    kind: "call",
    command,
    config,
    attachment: { container: env["CNI_CONTAINERID"] ?? "", ifname: env["CNI_IFNAME"] ?? "" },
    netns: env["CNI_NETNS"] === "" ? undefined : env["CNI_NETNS"],
    wish,
  };
}
