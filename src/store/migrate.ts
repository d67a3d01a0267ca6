/** Versions of the embedded store's file: forward only, one step after the other, each in one transaction. */
import type Database from "libsql";
import { GuardError } from "../model/errors.ts";

const steps: readonly string[] = [
  `CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL, lease INTEGER) WITHOUT ROWID;
   CREATE TABLE head (revision INTEGER NOT NULL);
   INSERT INTO head VALUES (0);`,
];

export const storeFormat = steps.length;

/** @throws STORE_CORRUPT when the file was written by a newer version */
export function migrate(database: Database.Database): void {
  const { user_version: found } = database.prepare("PRAGMA user_version").get() as { user_version: number };
  if (found > storeFormat) {
    throw new GuardError(
      "STORE_CORRUPT",
      `the store was written by a newer version of vifguard (format ${found}, this one knows ${storeFormat})`,
      {
        fields: { found, known: storeFormat },
      },
    );
  }
  for (const [i, step] of steps.entries()) {
    if (i >= found) database.exec(`BEGIN; ${step} PRAGMA user_version = ${i + 1}; COMMIT`);
  }
}
