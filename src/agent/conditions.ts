/** The conditions that stand now, each since when. */
import type { Clock } from "../model/clock.ts";
import { type ConditionCode, conditionCatalogue } from "../model/health.ts";
import type { ConditionView } from "../model/operations.ts";

export interface Conditions {
  raise(code: ConditionCode, detail: string): void;
  clear(code: ConditionCode): void;
  list(): readonly ConditionView[];
}

/** @param changed called when a condition begins, changes its words or ends */
export function createConditions(
  clock: Clock,
  changed: (code: ConditionCode, view: ConditionView | undefined) => void,
): Conditions {
  const standing = new Map<ConditionCode, ConditionView>();
  return {
    raise(code, detail) {
      const { severity, text } = conditionCatalogue[code];
      const known = standing.get(code);
      const view: ConditionView = { code, severity, text: text(detail), since: known?.since ?? clock.now() };
      standing.set(code, view);
      if (known?.text !== view.text) changed(code, view);
    },
    clear(code) {
      if (standing.delete(code)) changed(code, undefined);
    },
    list: () => [...standing.values()],
  };
}
