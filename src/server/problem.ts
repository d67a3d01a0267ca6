/** Errors as RFC 9457 problem documents: what happened, the code to look up, and what to do next. */
import { errorCatalogue, type GuardError } from "../model/errors.ts";

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly hint: string;
  readonly fields: GuardError["fields"];
}

export function problemOf(error: GuardError): Problem {
  const { http } = errorCatalogue[error.code];
  return {
    type: `urn:vifguard:error:${error.code}`,
    title: error.code.toLowerCase().replaceAll("_", " "),
    status: http,
    detail: error.message,
    code: error.code,
    hint: error.hint,
    fields: error.fields,
  };
}
