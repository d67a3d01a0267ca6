/** For the way back after a failure, and for what may be gone by itself: the first error is the one to tell. */
export function quietly(action: () => void): void {
  try {
    action();
  } catch {
    // Nothing depends on it: an unbound port is shut by the birth tables.
  }
}
