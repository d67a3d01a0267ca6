/** `unit` needs nothing; `lab` needs root and makes its own network namespaces; `platforms` needs the programs of the platforms too. */
import { defineConfig } from "vitest/config";
import { patience } from "./src/lab/patience.ts";

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "test/*.test.ts"],
          setupFiles: ["test/support/seed.ts"],
          testTimeout: patience(20_000),
        },
      },
      { test: { name: "bench", include: ["test/bench/all.bench.ts"] } },
      {
        test: {
          name: "platforms",
          include: ["test/platforms/*.test.ts"],
          testTimeout: patience(120_000),
          hookTimeout: patience(60_000),
          fileParallelism: false,
          pool: "forks",
        },
      },
      {
        test: {
          name: "faults",
          include: ["test/faults/*.test.ts"],
          testTimeout: patience(90_000),
          hookTimeout: patience(60_000),
          expect: { poll: { timeout: patience(1_000) } },
          fileParallelism: false,
          pool: "forks",
        },
      },
      {
        test: {
          name: "lab",
          include: ["test/{lab,golden,contract}/**/*.test.ts"],
          setupFiles: ["test/support/seed.ts"],
          testTimeout: patience(60_000),
          hookTimeout: patience(60_000),
          expect: { poll: { timeout: patience(1_000) } },
          // Most of a test is waiting; each file has namespaces of its own.
          maxWorkers: 2,
          pool: "forks",
        },
      },
    ],
  },
});
