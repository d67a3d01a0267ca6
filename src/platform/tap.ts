/** Taps that stand before their virtual machine: for Firecracker, cloud-hypervisor and whoever else opens a tap by name. */

import type { Client } from "../api/client.ts";
import { GuardError } from "../model/errors.ts";
import { isGuarded } from "../model/names.ts";
import type { PortView } from "../model/operations.ts";
import type { Host } from "./host.ts";
import { deleteLink, findLink, ip, type LinkView } from "./links.ts";

export interface TapWish {
  readonly name: string;
  readonly guest: string;
  readonly nic: number | undefined;
  /** User name or number that may open it. */
  readonly owner: string | undefined;
  readonly vnetHdr: boolean;
  readonly multiQueue: boolean;
}

interface Parts {
  readonly host: Host;
  readonly client: Client;
}

const creation = ({ name, owner, vnetHdr, multiQueue }: TapWish): readonly string[] => [
  ...["tuntap", "add", "dev", name, "mode", "tap"],
  ...(owner === undefined ? [] : ["user", owner]),
  ...(vnetHdr ? ["vnet_hdr"] : []),
  ...(multiQueue ? ["multi_queue"] : []),
];

/** Not vnet_hdr: whoever opens the tap sets that anew (tun_set_iff), queues it cannot (EINVAL). */
function notAsWished({ name, multiQueue }: TapWish, { kind, tun }: LinkView): string | undefined {
  if (kind !== "tun" || tun.mode !== "tap") return `'${name}' exists and is not a tap`;
  return tun.multiQueue === multiQueue
    ? undefined
    : `tap '${name}' exists with ${tun.multiQueue ? "many queues" : "one queue"}`;
}

/** @throws PORT_TAKEN when something else has the name, PORT_NAME before anything is made */
export async function createTap({ host, client }: Parts, wish: TapWish): Promise<PortView> {
  const { portPrefixes } = await client.status();
  if (!isGuarded(wish.name, portPrefixes))
    throw new GuardError("PORT_NAME", `"${wish.name}" does not begin with ${portPrefixes.join(", ")}`);
  const present = await findLink(host, wish.name);
  const wrong = present === undefined ? undefined : notAsWished(wish, present);
  if (wrong !== undefined) throw new GuardError("PORT_TAKEN", wrong, { fields: { port: wish.name } });
  if (present === undefined) await ip(host, creation(wish));
  try {
    return await client.attach({
      port: wish.name,
      guest: wish.guest,
      ...(wish.nic === undefined ? {} : { nic: wish.nic }),
    });
  } catch (cause) {
    if (present === undefined) await deleteLink(host, wish.name);
    throw cause;
  }
}

/** Answers whether there was one. @throws PORT_TAKEN when it is no tap */
export async function deleteTap({ host, client }: Parts, name: string): Promise<boolean> {
  const present = await findLink(host, name);
  if (present !== undefined && (present.kind !== "tun" || present.tun.mode !== "tap"))
    throw new GuardError("PORT_TAKEN", `'${name}' is not a tap: it stays`, { fields: { port: name } });
  try {
    await client.detach(name);
  } finally {
    if (present !== undefined) await deleteLink(host, name);
  }
  return present !== undefined;
}
