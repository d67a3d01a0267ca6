/** Versions of the embedded store's file: forward only, one step after the other, each in one transaction. */
import type Database from "libsql";
import { GuardError } from "../model/errors.ts";

const steps: readonly string[] = [
  `CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL, lease INTEGER) WITHOUT ROWID;
   CREATE TABLE head (revision INTEGER NOT NULL);
   INSERT INTO head VALUES (0);`,
  // IPv6, services of the host, multicast, shares, modes and exceptions: what was not said before is as it was before.
  `UPDATE entries SET value = json_patch('{"hostServices":[],"multicast":[],"suppression":false,"mode":"enforce","rates":{},"addressing":{"dns6":[]}}', value)
     WHERE key LIKE 'network/%';
   UPDATE entries SET value = json_set(value, '$.spec.nics', (SELECT json_group_array(json(
       json_patch('{"addresses":[],"allowedPairs":[],"roles":[],"unchecked":[],"rates":{}}', nic.value))) FROM json_each(entries.value, '$.spec.nics') AS nic))
     WHERE key LIKE 'guest/%';`,
];

export const storeFormat = steps.length;

function numberFrom(database: Database.Database, sql: string): number {
  return Number(database.prepare(sql).pluck().all()[0]);
}

/** @throws STORE_CORRUPT when the file was written by a newer version, or is no store: an empty one would close every port */
export function migrate(database: Database.Database, isNew: boolean): void {
  const found = numberFrom(database, "PRAGMA user_version");
  if (found > storeFormat) {
    throw new GuardError(
      "STORE_CORRUPT",
      `the store was written by a newer version of vifguard (format ${found}; this one knows formats up to ${storeFormat})`,
      { fields: { found, known: storeFormat } },
    );
  }
  if (found === 0 && !isNew) {
    const isEmpty = numberFrom(database, "SELECT count(*) FROM sqlite_schema") === 0;
    throw new GuardError("STORE_CORRUPT", isEmpty ? "the file is empty" : "the file is a database of another program");
  }
  for (const [i, step] of steps.entries()) {
    if (i >= found) database.exec(`BEGIN; ${step} PRAGMA user_version = ${i + 1}; COMMIT`);
  }
}
