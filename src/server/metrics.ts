/** What a monitoring system reads, in the text format of Prometheus (exposition format 0.0.4). Counters are the kernel's or since the agent's start, as the help lines say. */
import type { DropCount, LeaseView, ObjectView, StatusView } from "../model/operations.ts";

export interface MetricsParts {
  readonly status: StatusView;
  readonly drops: readonly DropCount[];
  readonly leases: readonly LeaseView[];
  readonly networks: readonly ObjectView[];
}

type Labels = Readonly<Record<string, string>>;
interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}
interface Metric {
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly help: string;
  readonly samples: readonly Sample[];
}

const escaped = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

function labelText(labels: Labels = {}): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function metricText({ name, type, help, samples }: Metric): string {
  const lines = samples.map(({ labels, value }) => `vifguard_${name}${labelText(labels)} ${value}\n`);
  return `# HELP vifguard_${name} ${help}\n# TYPE vifguard_${name} ${type}\n${lines.join("")}`;
}

/** How many there are of each. */
function tally(values: readonly Labels[]): readonly Sample[] {
  const counts = new Map<string, { labels: Labels; value: number }>();
  for (const labels of values) {
    const key = labelText(labels);
    const known = counts.get(key);
    if (known === undefined) counts.set(key, { labels, value: 1 });
    else known.value += 1;
  }
  return [...counts.values()];
}

const split = (label: string, counts: Readonly<Record<string, number>>, more: Labels = {}): readonly Sample[] =>
  Object.entries(counts).map(([name, value]) => ({ labels: { ...more, [label]: name }, value }));

function dropMetrics(drops: readonly DropCount[]): readonly Metric[] {
  const samples = (of: "packets" | "bytes"): readonly Sample[] =>
    drops.map(({ port, guest = "", direction, reason, observed, ...counts }) => ({
      labels: { port, guest, direction, reason, observed: String(observed) },
      value: counts[of],
    }));
  const help =
    "by port, guest, direction and line of the guard, since the port was attached; observed: they were let by";
  return [
    {
      name: "dropped_packets_total",
      type: "counter",
      help: `Frames that were dropped, ${help}.`,
      samples: samples("packets"),
    },
    { name: "dropped_bytes_total", type: "counter", help: `Their octets, ${help}.`, samples: samples("bytes") },
  ];
}

function dhcpMetrics({ dhcp }: StatusView): readonly Metric[] {
  const { silent, malformed, dropped, ...totals } = dhcp;
  return [
    {
      name: "dhcp_total",
      type: "counter",
      help: "Messages to the DHCP responder and what became of them, since the agent started.",
      samples: split("what", totals),
    },
    {
      name: "dhcp_unanswered_total",
      type: "counter",
      help: "Messages without an answer, by why, since the agent started.",
      samples: [
        ...split("why", silent, { kind: "silent" }),
        ...split("why", malformed, { kind: "malformed" }),
        ...split("why", dropped, { kind: "dropped" }),
      ],
    },
  ];
}

const fieldOf = (value: unknown, name: string): unknown => Object(value)[name];

/** Of networks with a range. */
function rangeOf({ name, status }: ObjectView): readonly {
  readonly network: string;
  readonly size: number;
  readonly free: number;
  readonly cooling: number;
}[] {
  const range = fieldOf(status, "range4");
  if (range === undefined || range === null) return [];
  const [size, free, cooling] = ["size", "free", "cooling"].map((field) => Number(fieldOf(range, field)));
  return [{ network: name, size: size ?? 0, free: free ?? 0, cooling: cooling ?? 0 }];
}

function poolMetrics(networks: readonly ObjectView[]): readonly Metric[] {
  const ranges = networks.flatMap(rangeOf);
  const samples = (of: "size" | "free" | "cooling"): readonly Sample[] =>
    ranges.map(({ network, ...range }) => ({ labels: { network }, value: range[of] }));
  return [
    {
      name: "pool_addresses",
      type: "gauge",
      help: "Addresses of a network's range4 that guests can have.",
      samples: samples("size"),
    },
    { name: "pool_free_addresses", type: "gauge", help: "Those that can be given.", samples: samples("free") },
    {
      name: "pool_cooling_addresses",
      type: "gauge",
      help: "Those that nobody has and that cool down.",
      samples: samples("cooling"),
    },
  ];
}

export function metricsText({ status, drops, leases, networks }: MetricsParts): string {
  const { host, version, startedAt, healthy, conditions, ports, unbound, store, hosts } = status;
  const metrics: readonly Metric[] = [
    { name: "build_info", type: "gauge", help: "Always 1.", samples: [{ labels: { version, host }, value: 1 }] },
    {
      name: "start_time_seconds",
      type: "gauge",
      help: "When the agent started.",
      samples: [{ value: startedAt / 1000 }],
    },
    {
      name: "healthy",
      type: "gauge",
      help: "1 when no condition of severity error stands.",
      samples: [{ value: Number(healthy) }],
    },
    {
      name: "condition",
      type: "gauge",
      help: "1 for each condition that stands (docs/reference/errors.md).",
      samples: tally(conditions.map(({ code, severity }) => ({ code, severity }))),
    },
    {
      name: "ports",
      type: "gauge",
      help: "Attached ports.",
      samples: tally(ports.map(({ state, mode }) => ({ state, mode }))),
    },
    {
      name: "unbound_ports",
      type: "gauge",
      help: "Interfaces with a guarded name that are not attached, and shut.",
      samples: [{ value: unbound.length }],
    },
    {
      name: "hosts",
      type: "gauge",
      help: "Hosts of the fleet by state (unknown: the store that would know is away).",
      samples: split("state", hosts),
    },
    {
      name: "store_revision",
      type: "gauge",
      help: "What of the store this agent has seen.",
      samples: [{ value: store.revision }],
    },
    {
      name: "leases",
      type: "gauge",
      help: "DHCP leases.",
      samples: tally(leases.map(({ network, state }) => ({ network, state }))),
    },
    ...poolMetrics(networks),
    ...dhcpMetrics(status),
    ...dropMetrics(drops),
  ];
  return metrics.map(metricText).join("");
}
