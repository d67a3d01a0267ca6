/** Least squares over runs: a figure as so much, and so much more for every guest of the site, or for every host. */

export interface Point {
  readonly x: number;
  readonly value: number;
}

export interface Line {
  readonly base: number;
  readonly slope: number;
}

const meanOf = (all: readonly number[]): number => all.reduce((sum, one) => sum + one, 0) / all.length;

/** @returns undefined where all points are at one place */
export function lineOf(points: readonly Point[]): Line | undefined {
  const [x, y] = [meanOf(points.map((point) => point.x)), meanOf(points.map((point) => point.value))];
  const spread = points.reduce((sum, point) => sum + (point.x - x) ** 2, 0);
  if (points.length === 0 || spread === 0) return undefined;
  const slope = points.reduce((sum, point) => sum + (point.x - x) * (point.value - y), 0) / spread;
  return { base: y - slope * x, slope };
}

export const at = ({ base, slope }: Line, x: number): number => base + slope * x;
