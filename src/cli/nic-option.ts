/** `--nic N`: which NIC of a guest is meant. */
import { GuardError } from "../model/errors.ts";
import type { Input } from "./command.ts";

/** Undefined when the option was left out. @throws USAGE */
export function nicNumber(input: Input): number | undefined {
  const text = input.option("nic");
  if (text === undefined) return undefined;
  if (/^\d{1,3}$/.test(text)) return Number(text);
  throw new GuardError("USAGE", `--nic: '${text}' is not a number counted from 0`);
}
