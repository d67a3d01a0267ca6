/**
 * The DHCP codecs and responders under the coverage-guided fuzzer: a second and a half here, as long as FUZZ_SECONDS says on demand (npm run fuzz), each
 * time with another seed then.
 */
import { env } from "node:process";
import { expect, test } from "vitest";
import { patience } from "../src/lab/patience.ts";
import { dhcpTargets } from "./support/dhcp-fuzz.ts";
import { fuzz } from "./support/fuzz.ts";

const total = Number(env["FUZZ_SECONDS"] ?? 1.5);
const seed = Number(env["FUZZ_SEED"] ?? (env["FUZZ_SECONDS"] === undefined ? 7 : Date.now() % 0x7fff_ffff));
const sources = /\/src\/(?:packet|addressing)\//;

test.each(dhcpTargets)(
  "$name: any octets are answered rightly or refused, and quickly",
  (target) => {
    const seconds = total / dhcpTargets.length;
    const { inputs, corpus, worstMicroseconds } = fuzz(target, { seconds, seed, sources });
    const says = `${target.name}: ${inputs} inputs in ${seconds} s (seed ${seed}), ${corpus.length} kept, slowest ${worstMicroseconds} µs`;
    if (env["FUZZ_SECONDS"] !== undefined) process.stdout.write(`${says}\n`);
    expect(inputs, says).toBeGreaterThanOrEqual(1024);
    // 120 µs were the most in 1.1 million inputs (three answers each); the rest is room for a machine that is busy.
    expect(worstMicroseconds, says).toBeLessThan(patience(10_000));
  },
  total * 1000 + patience(20_000),
);

test("control: it finds what hides behind four comparisons, each with one value in 256", () => {
  const hidden = (bytes: Uint8Array): void => {
    if (bytes[0] === 0x7f && bytes[1] === 0xc0 && bytes[2] === 0x35 && bytes[3] === 0x3d) throw new Error("found");
  };
  const steps: number[] = [];
  const target = { name: "hidden", seeds: [new Uint8Array(8)], run: (bytes: Uint8Array) => walk(bytes, hidden, steps) };
  expect(() => fuzz(target, { seconds: 20, seed: 7, sources: /fuzz-dhcp\.test/ })).toThrow("hidden fails on");
});

/** Each step is code of its own, as coverage sees it. */
function walk(bytes: Uint8Array, found: (bytes: Uint8Array) => void, steps: number[]): void {
  steps.length = 0;
  if (bytes[0] !== 0x7f) return;
  steps.push(1);
  if (bytes[1] !== 0xc0) return;
  steps.push(2);
  if (bytes[2] !== 0x35) return;
  steps.push(3);
  if (bytes[3] === 0x3d) found(bytes);
}
