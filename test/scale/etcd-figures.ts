/** What etcd's members say of themselves on `/metrics`. */

export interface EtcdFigures {
  readonly keys: number;
  readonly watchers: number;
  /** Of the largest member, in bytes. */
  readonly database: number;
  readonly rss: number;
  /** Since they started: of all members. */
  readonly cpu: number;
  readonly sent: number;
  readonly received: number;
}

function metricsOf(text: string): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const [, name = "", value] of text.matchAll(/^([a-z_]+)(?:\{[^}]*\})? (\S+)$/gm))
    sums.set(name, (sums.get(name) ?? 0) + Number(value));
  return sums;
}

export async function etcdFigures(endpoints: readonly string[]): Promise<EtcdFigures> {
  const members = await Promise.all(
    endpoints.map(async (url) => metricsOf(await (await fetch(`${url}/metrics`)).text())),
  );
  const each = (name: string): readonly number[] => members.map((metrics) => metrics.get(name) ?? 0);
  const sum = (name: string): number => each(name).reduce((all, one) => all + one, 0);
  return {
    keys: Math.max(...each("etcd_debugging_mvcc_keys_total")),
    watchers: sum("etcd_debugging_mvcc_watcher_total"),
    database: Math.max(...each("etcd_mvcc_db_total_size_in_bytes")),
    rss: Math.max(...each("process_resident_memory_bytes")),
    cpu: 1000 * sum("process_cpu_seconds_total"),
    sent: sum("etcd_network_client_grpc_sent_bytes_total"),
    received: sum("etcd_network_client_grpc_received_bytes_total"),
  };
}
