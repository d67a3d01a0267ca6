/**
 * systemd-nspawn has no script of its own for its network: the unit's ExecStartPost says `CONTAINER PID`. PID is that of systemd-nspawn; the container's
 * first process is its child, and in that one's network namespace are the other ends of the container's ports.
 */
import { GuardError } from "../model/errors.ts";
import { isGuarded } from "../model/names.ts";
import { type Hook, strange, wordAt } from "./hook.ts";
import type { Host } from "./host.ts";
import { ip, type LinkView, listLinks, must } from "./links.ts";
import { nicsOfGuest, type SiteNic } from "./site.ts";

interface Pair {
  readonly outside: LinkView;
  readonly inside: LinkView;
}

const namespaceFile = (pid: string): string => `/proc/${pid}/ns/net`;

async function namespaceOf(host: Host, pid: string): Promise<string> {
  // A helper of nspawn may have ended meanwhile.
  return (await host.run(["readlink", namespaceFile(pid)])).stdout.trim();
}

/** @throws PORT_MISSING when the container has no network of its own */
async function containerNetwork(host: Host, name: string, pid: string): Promise<string> {
  const own = await namespaceOf(host, "self");
  const children = (await must(host, ["cat", `/proc/${pid}/task/${pid}/children`])).trim();
  for (const child of children.split(" ").filter((text) => text !== "")) {
    const namespace = await namespaceOf(host, child);
    if (namespace !== "" && namespace !== own) return namespaceFile(child);
  }
  throw new GuardError(
    "PORT_MISSING",
    `container '${name}' (process ${pid}) has no network of its own: start it with --network-veth or --network-bridge=`,
    { fields: { guest: name } },
  );
}

/**
 * nspawn calls a port after its container, at most 11 letters of it with what it puts before and a digest behind. Indexes alone do not tell whose it is:
 * in its own namespaces the container, which runs already, can make a pair with the indexes of another one's.
 */
function isNamedAfter(port: string, container: string): boolean {
  return ["ve-", "vb-", "vz-"].some((kind) => port.startsWith(`${kind}${container}`.slice(0, 11)));
}

/** In the order in which nspawn made them. */
async function pairsOf(host: Host, netns: string): Promise<readonly Pair[]> {
  const [outside, inside] = [await listLinks(host), await listLinks(host, netns)];
  return inside.flatMap((end) => {
    const other = outside.find(
      ({ kind, ifindex, peer }) => kind === "veth" && ifindex === end.peer && peer === end.ifindex,
    );
    return other === undefined ? [] : [{ outside: other, inside: end }];
  });
}

/** @throws PORT_NAME, NIC_TAKEN */
async function attachPair(hook: Hook, netns: string, guest: string, { outside, inside }: Pair): Promise<void> {
  const port = outside.name;
  const nics = await nicsOfGuest(hook.client, guest);
  const found: SiteNic | undefined =
    nics.find((nic) => nic.port === port) ?? nics.find((nic) => nic.port === undefined);
  if (found === undefined)
    throw new GuardError("NIC_TAKEN", `guest '${guest}' has no NIC left for port '${port}'`, {
      fields: { guest, port },
    });
  // Before the port goes up: what waits for a carrier begins with the right one.
  await ip(hook.host, ["link", "set", "dev", inside.name, "address", found.mac], netns);
  await hook.client.attach({ port, guest, nic: found.nic });
}

/** The unit fails, and systemd ends the container, when this does. Its name is the guest's. */
export async function nspawnHook(hook: Hook): Promise<void> {
  const [name, pid] = [wordAt(hook, 0), wordAt(hook, 1)];
  if (hook.words.length !== 2 || !/^\d+$/.test(pid)) throw strange("systemd-nspawn's unit", hook);
  const guest = hook.env["VIFGUARD_GUEST"] || name;
  const netns = await containerNetwork(hook.host, name, pid);
  const { portPrefixes } = await hook.client.status();
  const pairs = await pairsOf(hook.host, netns);
  const own = pairs.filter(({ outside }) => isNamedAfter(outside.name, name));
  const guarded = own.filter(({ outside }) => isGuarded(outside.name, portPrefixes));
  if (guarded.length === 0) {
    const names = own.map(({ outside }) => `'${outside.name}'`).join(", ") || "none";
    throw new GuardError("PORT_NAME", `ports of container '${name}': ${names}; guarded is ${portPrefixes.join(", ")}`);
  }
  for (const pair of guarded) await attachPair(hook, netns, guest, pair);
}
