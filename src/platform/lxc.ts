/**
 * LXC's network scripts (`lxc.net.N.script.up`, `.down`). With `lxc.hook.version = 1` the arguments are `veth BRIDGE PORT` and the rest stands in
 * LXC_*; with 0 they are `CONTAINER net up veth BRIDGE PORT`. The bridge is missing when none is configured.
 */
import { parseInterfaceName } from "../model/names.ts";
import { detachQuietly, type Hook, nicOf, strange } from "./hook.ts";

export interface LxcCall {
  readonly container: string;
  readonly up: boolean;
  readonly port: string;
}

export function parseLxc(words: readonly string[], env: Hook["env"]): LxcCall | undefined {
  const isOld = words[1] === "net";
  const [container, action] = isOld ? [words[0], words[2]] : [env["LXC_NAME"], env["LXC_HOOK_TYPE"]];
  const rest = isOld ? words.slice(3) : words;
  const port = env["LXC_NET_PEER"] || rest.at(-1);
  if (container === undefined || port === undefined || rest[0] !== "veth" || parseInterfaceName(port) === undefined)
    return undefined;
  if (action !== "up" && action !== "down") return undefined;
  return { container, port, up: action === "up" };
}

/** The container does not start when this fails. Its name is the guest's. */
export async function lxcHook(hook: Hook): Promise<void> {
  const call = parseLxc(hook.words, hook.env);
  if (call === undefined) throw strange("LXC", hook);
  if (!call.up) return detachQuietly(hook, call.port);
  const nic = nicOf(hook.env);
  await hook.client.attach({
    port: call.port,
    guest: hook.env["VIFGUARD_GUEST"] || call.container,
    ...(nic === undefined ? {} : { nic }),
  });
}
