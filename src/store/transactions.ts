/** Transactions put together: those that must hold or fail as one. */
import type { Transaction } from "./store.ts";

export const NOTHING: Transaction = { expect: [], writes: [] };

export function joined(transactions: readonly Transaction[]): Transaction {
  return {
    expect: transactions.flatMap(({ expect }) => expect),
    writes: transactions.flatMap(({ writes }) => writes),
  };
}
