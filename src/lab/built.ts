/** Where our own programs are, for those that must run inside a box: beside us when built, in `dist` when we run from source. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { GuardError } from "../model/errors.ts";

/** @param path below the folder of the build, such as `main.js` @throws COMMAND_FAILED when there is no build */
export function builtFile(path: string): string {
  const candidates = [`../${path}`, `../../dist/${path}`].map((at) => fileURLToPath(new URL(at, import.meta.url)));
  const found = candidates.find((candidate) => existsSync(candidate));
  if (found === undefined)
    throw new GuardError("COMMAND_FAILED", `${path} is not built: run 'npm run build'`, { fields: { path } });
  return found;
}
