/** Versions of the embedded store's file: forward only, one step after the other, each in one transaction. */
import Database from "libsql";
import { GuardError } from "../model/errors.ts";
import { isMember } from "../model/keys.ts";
import type { Json, Key } from "./store.ts";

/** `CAST` reads a number up to its first other character, so that "8000-8100" gives both its ends. */
const rulesOf = (direction: "ingress" | "egress"): string => `(
  SELECT json_group_array(json_object(
    'service', CASE
      WHEN rule.value ->> '$.protocol' IN ('tcp', 'udp') THEN json_object('kind', rule.value ->> '$.protocol', 'ports',
        (SELECT json_group_array(json_object('first', first, 'last', last)) FROM (
          SELECT CAST(port.value AS INTEGER) AS first, CAST(substr(port.value, instr(port.value, '-') + 1) AS INTEGER) AS last
            FROM json_each(rule.value, '$.ports') AS port ORDER BY first)))
      WHEN rule.value ->> '$.protocol' IN ('icmp', 'icmpv6') THEN json_object('kind', rule.value ->> '$.protocol')
      ELSE json_object('kind', 'protocol', 'number', rule.value ->> '$.protocol') END,
    'peer', CASE
      WHEN json_type(rule.value, '$.peer') = 'text' THEN json_object('kind', rule.value ->> '$.peer')
      WHEN json_type(rule.value, '$.peer.group') = 'text' THEN json_object('kind', 'group', 'group', rule.value ->> '$.peer.group')
      ELSE json_object('kind', 'prefix4', 'prefix', rule.value ->> '$.peer.prefix') END))
    FROM json_each(entries.value, '$.${direction}') AS rule)`;

/** Of one NIC (`nics` below) and one family: what other servers gave it. */
const learnedOf = (test: "=" | ">"): string => `(
  SELECT json_group_array(value ->> '$.address') FROM entries
    WHERE key > 'lease/' AND key < 'lease0' AND json_type(value, '$.learned') IS NOT NULL AND value ->> '$.state' = 'bound'
      AND value ->> '$.guest' = guest AND value ->> '$.nic' = nic AND value ->> '$.mac' = identity ->> '$.mac'
      AND value ->> '$.network' = identity ->> '$.network' AND instr(value ->> '$.address', ':') ${test} 0)`;

const unlessEmpty = (field: string): string =>
  `CASE WHEN json_array_length(spec, '$.${field}') > 0 THEN json(spec -> '$.${field}') END`;

/** What was not said is null, and `json_patch` leaves that out. */
const MEMBERS = `WITH nics AS (
    SELECT entries.value ->> '$.name' AS guest, nic.key AS nic, nic.value AS identity, revision,
      json_extract(entries.value, '$.spec.nics[' || nic.key || ']') AS spec
    FROM entries, json_each(entries.value, '$.nics') AS nic WHERE entries.key LIKE 'guest/%'),
  members AS (
    SELECT guest, nic, spec, revision, identity ->> '$.network' AS network, json_patch(
      CASE WHEN json_type(identity, '$.addresses6') IS NULL THEN identity
        ELSE json_set(identity, '$.addresses4', json(${learnedOf("=")}), '$.addresses6', json(${learnedOf(">")})) END,
      json_object('address6', spec ->> '$.address6', 'public4', spec ->> '$.public4', 'addresses', ${unlessEmpty("addresses")},
        'allowedPairs', ${unlessEmpty("allowedPairs")}, 'groups', ${unlessEmpty("groups")})) AS member
    FROM nics WHERE spec IS NOT NULL)`;

const MAKE_MEMBERS = `CREATE TEMP TABLE found AS ${MEMBERS}
     SELECT 'member/' || network || '/' || guest || '/' || nic AS key, member, max(revision, 1) AS revision FROM members
     UNION SELECT 'carrier/' || own.value || '/' || guest || '/' || nic, member, max(revision, 1) FROM members, json_each(spec, '$.groups') AS own;
   INSERT INTO entries (key, value, revision) SELECT key, member, revision FROM found;
   DROP TABLE found;`;

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
  // Rules of groups in the words of the service policy. An empty egress was what a file that named none became: everything out, as it was.
  `UPDATE entries SET value = json_patch('{"groups":[],"connections":8192}', value) WHERE key LIKE 'network/%';
   UPDATE entries SET value = json_object('ingress', ${rulesOf("ingress")}, 'egress', ${rulesOf("egress")}) WHERE key LIKE 'group/%';
   UPDATE entries SET value = json_remove(value, '$.egress') WHERE key LIKE 'group/%' AND json_array_length(value, '$.egress') = 0;`,
  // A NIC belongs to one port of one host. Of several that were given to one NIC the last stands, the others were left over.
  `INSERT INTO entries (key, value, revision)
     SELECT 'claim/' || (value ->> '$.guest') || '/' || (value ->> '$.nic'),
       json_object('fence', 1, 'holder', json_object('host', substr(key, 12, instr(substr(key, 12), '/') - 1), 'port', value ->> '$.port')), max(revision, 1)
     FROM (SELECT key, value, revision, max(value ->> '$.since') FROM entries WHERE key LIKE 'attachment/%' GROUP BY value ->> '$.guest', value ->> '$.nic');
   UPDATE entries SET value = json_set(value, '$.fence', 1) WHERE key LIKE 'attachment/%';`,
  // What other hosts must know of a NIC, by its network and by its groups.
  MAKE_MEMBERS,
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

/** Entries of an older format as they are in this one, by way of a file that is only in memory. @throws STATE_INVALID */
export function upgraded(entries: ReadonlyMap<Key, Json>, format: number): ReadonlyMap<Key, Json> {
  if (format === storeFormat) return entries;
  if (!Number.isSafeInteger(format) || format < 1 || format > storeFormat) {
    const message = `the state has format ${format}, this version of vifguard knows formats up to ${storeFormat}`;
    throw new GuardError("STATE_INVALID", message, { fields: { found: format, known: storeFormat } });
  }
  return remade(entries, format, steps.slice(format));
}

/** What is derived from guests and leases as it follows from these, whatever was said of it. Only of entries that are as they should be. */
export function withMembers(entries: ReadonlyMap<Key, Json>): ReadonlyMap<Key, Json> {
  const others = new Map([...entries].filter(([key]) => !isMember(key)));
  return remade(others, storeFormat, [MAKE_MEMBERS]);
}

function remade(entries: ReadonlyMap<Key, Json>, format: number, how: readonly string[]): ReadonlyMap<Key, Json> {
  const database = new Database(":memory:");
  try {
    for (const step of steps.slice(0, format)) database.exec(step);
    const put = database.prepare("INSERT INTO entries (key, value, revision) VALUES (?, ?, 1)");
    for (const [key, value] of entries) put.run(key, JSON.stringify(value));
    for (const step of how) database.exec(step);
    const rows: readonly unknown[] = database.prepare("SELECT key, value FROM entries").raw().all();
    return new Map(rows.map((row) => (Array.isArray(row) ? [String(row[0]), JSON.parse(String(row[1]))] : ["", null])));
  } finally {
    database.close();
  }
}
