/** Two projects: `unit` needs nothing; `lab` needs root and makes its own network namespaces. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["src/**/*.test.ts", "test/*.test.ts"], testTimeout: 20_000 } },
      { test: { name: "bench", include: ["test/bench/all.bench.ts"] } },
      {
        test: {
          name: "lab",
          include: ["test/{lab,golden,faults,contract}/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          pool: "forks",
        },
      },
    ],
  },
});
