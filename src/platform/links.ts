/** Interfaces by way of the `ip` program, here or in another network namespace (by path: container runtimes name them so). */
import { GuardError } from "../model/errors.ts";
import type { Host } from "./host.ts";
import { fieldsOf, listOf, numberOf, parseJson, textOf, textsOf } from "./json.ts";

export interface LinkView {
  readonly ifindex: number;
  readonly name: string;
  readonly mac: string;
  readonly kind: string;
  readonly alias: string;
  readonly up: boolean;
  readonly mtu: number;
  /** Of a veth: index of its other end, in whatever namespace that is. */
  readonly peer: number | undefined;
  /** Of a tap. */
  readonly tun: { readonly mode: string; readonly multiQueue: boolean };
}

const inNamespace = (netns: string | undefined): readonly string[] =>
  netns === undefined ? [] : ["nsenter", `--net=${netns}`, "--"];

/** @throws COMMAND_FAILED with what it said */
export async function must(host: Host, argv: readonly string[], stdin?: string): Promise<string> {
  const { status, stdout, stderr } = await host.run(argv, stdin);
  if (status === 0) return stdout;
  const says = (stderr.trim() || stdout.trim() || `status ${status}`).slice(0, 1000);
  throw new GuardError("COMMAND_FAILED", `'${argv.join(" ")}': ${says}`, { fields: { command: argv.join(" ") } });
}

export async function ip(host: Host, words: readonly string[], netns?: string): Promise<string> {
  return must(host, [...inNamespace(netns), "ip", ...words]);
}

/** Many changes in one process. */
export async function ipBatch(host: Host, lines: readonly string[], netns?: string): Promise<void> {
  await must(host, [...inNamespace(netns), "ip", "-batch", "-"], `${lines.join("\n")}\n`);
}

function linkOf(value: unknown): LinkView {
  const fields = fieldsOf(value);
  const info = fieldsOf(fields["linkinfo"]);
  const data = fieldsOf(info["info_data"]);
  return {
    ifindex: numberOf(fields["ifindex"]) ?? 0,
    name: textOf(fields["ifname"]) ?? "",
    mac: textOf(fields["address"]) ?? "",
    kind: textOf(info["info_kind"]) ?? "",
    alias: textOf(fields["ifalias"]) ?? "",
    up: textsOf(fields["flags"]).includes("UP"),
    mtu: numberOf(fields["mtu"]) ?? 0,
    peer: numberOf(fields["link_index"]),
    tun: {
      mode: textOf(data["type"]) ?? "",
      multiQueue: data["multi_queue"] === true,
    },
  };
}

/** What `ip -j -d link show` printed. */
export function parseLinks(json: string): readonly LinkView[] {
  return listOf(parseJson(json)?.value).map(linkOf);
}

export async function listLinks(host: Host, netns?: string): Promise<readonly LinkView[]> {
  return parseLinks(await ip(host, ["-j", "-d", "link", "show"], netns));
}

export async function findLink(host: Host, name: string, netns?: string): Promise<LinkView | undefined> {
  return (await listLinks(host, netns)).find((link) => link.name === name);
}

export interface AddressView {
  /** With its prefix length. */
  readonly address: string;
  readonly family: "inet" | "inet6";
  readonly scope: string;
}

export function parseAddresses(json: string): readonly AddressView[] {
  return listOf(parseJson(json)?.value)
    .flatMap((link) => listOf(fieldsOf(link)["addr_info"]))
    .map(fieldsOf)
    .flatMap((info) => {
      const [local, length, scope] = [textOf(info["local"]), numberOf(info["prefixlen"]), textOf(info["scope"])];
      if (local === undefined || length === undefined) return [];
      const family = info["family"] === "inet6" ? "inet6" : "inet";
      return [{ address: `${local}/${length}`, family, scope: scope ?? "" } as const];
    });
}

export async function addressesOf(host: Host, name: string, netns?: string): Promise<readonly AddressView[]> {
  return parseAddresses(await ip(host, ["-j", "address", "show", "dev", name], netns));
}

export async function deleteLink(host: Host, name: string): Promise<void> {
  const { status, stderr } = await host.run(["ip", "link", "delete", "dev", name]);
  // The other end may have taken it along.
  if (status !== 0 && !/Cannot find device/.test(stderr))
    throw new GuardError("COMMAND_FAILED", `'ip link delete dev ${name}': ${stderr.trim()}`);
}
