/** Tells systemd that the agent answers, so that units of guests wait for that and not only for a process. Elsewhere it does nothing. */
import { execFileSync } from "node:child_process";

/** The socket it is told at is one of datagrams, which Node has not; systemd's own program has. Answers what went wrong. */
export function tellReady(): string | undefined {
  if (process.env["NOTIFY_SOCKET"] === undefined) return undefined;
  try {
    execFileSync("systemd-notify", ["--ready", "--status=answering"], { timeout: 5_000 });
    return undefined;
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  }
}
