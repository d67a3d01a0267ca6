/** What the lies came to, as a table and as one verdict. */
import type { Trial } from "./trial.ts";

/** Columns as wide as their widest cell; the last one is not padded. */
function renderTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  ");
  return rows.map((row) => `  ${line(row)}`.trimEnd()).join("\n");
}

/** Every frame of it under the reason the lie is for, or under none at all when the responder has taken it. */
function isCounted(trial: Trial): boolean {
  return trial.attack.reason === undefined || (trial.counted.get(trial.attack.reason) ?? 0) >= trial.sent;
}

function countedText(trial: Trial): string {
  const { reason } = trial.attack;
  if (reason === undefined) return "(kept by the host's responder)";
  const packets = trial.counted.get(reason) ?? 0;
  if (packets > 0) return `${reason} ${packets}${packets < trial.sent ? ` of ${trial.sent}` : ""}`;
  const others = [...trial.counted].map(([other, count]) => `${other} ${count}`).join(", ");
  return `NOT as ${reason}${others === "" ? "" : ` but ${others}`}`;
}

/**
 * Behind the guard: nothing arrived, it was counted for what it is, and the truth passed.
 * @param hasCounts whether an agent answered; the rules stand without it too, but nobody reads their counters
 */
export function isStopped(trial: Trial, hasCounts: boolean): boolean {
  return trial.arrivedAt.length === 0 && (isCounted(trial) || !hasCounts) && trial.controlPassed;
}

export function renderTrials(trials: readonly Trial[], hasCounts: boolean): string {
  const rows = trials.map((trial) => [
    trial.attack.name,
    String(trial.sent),
    trial.arrivedAt.length === 0 ? "nowhere" : `AT ${trial.arrivedAt.join(", ")}`,
    hasCounts ? countedText(trial) : "-",
    trial.controlPassed ? "passed" : "FAILED",
  ]);
  return renderTable([["LIE", "SENT", "ARRIVED", "COUNTED AS", "HONEST TWIN"], ...rows]);
}
