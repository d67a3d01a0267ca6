/** Which questions of one port are still open, so that no answer counts that nobody asked for, comes too late, or comes twice. */

/** What a question may be answered by. `final`: something that gives, confirms or refuses an address, once. */
export type Wants = "offer" | "final" | "facts";

export interface Exchanges {
  asked(id: number, wants: readonly Wants[], now: number): void;
  awaits(id: number, answer: Wants, now: number): boolean;
  /** It had its one final answer. */
  answered(id: number): void;
}

/** A client resends after four seconds at first and 64 at most (RFC 2131 section 4.1); servers answer within one or two. */
const OPEN_MS = 30_000;
/** Questions of one port at once; the oldest is forgotten for a new one. */
const MOST = 16;

interface Open {
  readonly at: number;
  readonly wants: ReadonlySet<Wants>;
}

export function createExchanges(): Exchanges {
  const open = new Map<number, Open>();
  return {
    asked: (id, wants, now) => {
      const before = open.get(id);
      // Clients keep the number from DISCOVER to REQUEST: offers that are late do no harm.
      const all = new Set([...wants, ...(before?.wants.has("offer") === true ? (["offer"] as const) : [])]);
      open.delete(id);
      open.set(id, { at: now, wants: all });
      const [oldest] = open.keys();
      if (open.size > MOST && oldest !== undefined) open.delete(oldest);
    },
    awaits: (id, answer, now) => {
      const question = open.get(id);
      return question !== undefined && now >= question.at && now - question.at <= OPEN_MS && question.wants.has(answer);
    },
    answered: (id) => {
      const question = open.get(id);
      if (question === undefined) return;
      const rest = new Set(question.wants);
      rest.delete("final");
      open.set(id, { ...question, wants: rest });
    },
  };
}
