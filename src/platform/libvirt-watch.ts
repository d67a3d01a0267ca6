/**
 * Tells of what libvirt calls no hook for: NICs that are plugged into running domains, and guests that have arrived from another host. Stays, so that no guest that runs
 * waits for a program to start; ends with libvirtd.
 */
import { type Hook, wordAt } from "./hook.ts";
import { libvirtHook } from "./libvirt.ts";

/** Until virsh is registered: what happens while the domains are gone through is heard as well. */
const REGISTERED_MS = 1_000;

/** In quotes since libvirt 8, as its translations have them. */
const EVENT = /^event '(device-added|lifecycle)' for domain '?(.*?)'?: (.*)$/;

type Telling = "reconnect" | "resumed";

/** What an event means for a domain's ports; undefined when it means nothing. */
export function heard(line: string): { readonly domain: string; readonly what: Telling } | undefined {
  const [, event, domain = "", detail = ""] = EVENT.exec(line) ?? [];
  if (event === "device-added") return { domain, what: "reconnect" };
  return event === "lifecycle" && detail.startsWith("Resumed") ? { domain, what: "resumed" } : undefined;
}

export async function libvirtWatch(hook: Hook): Promise<void> {
  const { host, say } = hook;
  const virsh = ["virsh", "-q", "-c", wordAt(hook, 0)];

  /** As the hook does: what is attached already stays as it is, a failure is only told. */
  async function tell(domain: string, what: Telling): Promise<void> {
    try {
      const { status, stdout, stderr } = await host.run([...virsh, "dumpxml", domain]);
      if (status !== 0) throw new Error(stderr.trim());
      await libvirtHook({ ...hook, words: [domain, what, "begin", "-"], stdin: () => Promise.resolve(stdout) });
    } catch (cause) {
      say(`domain '${domain}': ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  }

  async function tellAll(what: Telling, ...which: readonly string[]): Promise<void> {
    const { stdout } = await host.run([...virsh, "list", "--name", ...which]);
    for (const domain of stdout.split("\n").filter((name) => name !== "")) await tell(domain, what);
  }

  /** One domain that waits, for a host that does not answer, keeps no other waiting. */
  async function follow(event: string): Promise<void> {
    // Into a pipe virsh would keep back what it prints.
    for await (const line of host.lines(["stdbuf", "-oL", ...virsh, "event", "--event", event, "--loop"])) {
      const known = heard(line);
      if (known !== undefined) void tell(known.domain, known.what);
    }
  }

  async function catchUp(): Promise<void> {
    await host.pause(REGISTERED_MS);
    await tellAll("reconnect");
    await tellAll("resumed", "--state-running");
  }

  await Promise.all([follow("device-added"), follow("lifecycle"), catchUp()]);
}
