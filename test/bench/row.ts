/** One measured number, as the benchmark report prints it. */
export interface BenchRow {
  readonly suite: string;
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What somebody else's program did in the same place, in words. */
  readonly peer?: string;
  /** Conditions without which the number means nothing. */
  readonly note?: string;
}
