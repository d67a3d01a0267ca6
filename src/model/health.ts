/** Conditions an agent can be in: code, how bad, and the words `status` shows. Raised and cleared, never logged once and forgotten. */
export interface ConditionSpec {
  readonly severity: "info" | "warning" | "error";
  readonly text: (detail: string) => string;
}

export const conditionCatalogue = {
  RULES_REFUSED: { severity: "error", text: (detail) => `the kernel refused the rules; the old ones stand: ${detail}` },
  PORT_FAILED: { severity: "error", text: (detail) => `ports that stay shut: ${detail}` },
  RULES_REPAIRED: {
    severity: "warning",
    text: (detail) => `rules were changed by another program and put back: ${detail}`,
  },
  STORE_FAILED: {
    severity: "error",
    text: (detail) => `the store cannot write; guests keep their rules, nothing can be changed: ${detail}`,
  },
  STORE_AWAY: {
    severity: "error",
    text: (detail) =>
      `the fleet's store does not answer: guests keep what this host knew last, leases are renewed, nothing can be changed: ${detail}`,
  },
  COPY_FAILED: {
    severity: "warning",
    text: (detail) =>
      `this host's copy of the fleet's store cannot be written; it is old when the store goes away: ${detail}`,
  },
  NEWER_RECORDS: {
    severity: "warning",
    text: (detail) =>
      `the store holds what a newer version wrote and this one passes over; what hangs on it stays shut: ${detail}`,
  },
  RESTORE_LOST: {
    severity: "error",
    text: (detail) =>
      `the store was restored and knows nothing of guests that were attached here; their ports are shut: ${detail}; apply these guests again, then 'vifguard attach'`,
  },
  DHCP_FAILED: { severity: "warning", text: (detail) => `DHCP requests were not answered: ${detail}` },
  HOST_TWIN: {
    severity: "error",
    text: (detail) =>
      `this host's name belongs to another machine: its ports go on, nothing can be attached here; give one of the two another --host: ${detail}`,
  },
  HOST_UNHEARD: {
    severity: "warning",
    text: (detail) => `the fleet has not heard this host since ${detail}; its ports go on`,
  },
  HOSTS_SILENT: {
    severity: "warning",
    text: (detail) =>
      `hosts that are not heard; their ports go on, as far as they have power ('vifguard host list'): ${detail}`,
  },
  MOVE_WAITING: {
    severity: "warning",
    text: (detail) => `ports that are prepared and wait for another to let go of their NIC: ${detail}`,
  },
  ADDRESS_CONFLICT: {
    severity: "warning",
    text: (detail) => `addresses of guests that somebody else on the LAN uses, not given out: ${detail}`,
  },
  EVENTS_LOST: {
    severity: "info",
    text: (detail) => `kernel events were lost and everything was read again: ${detail}`,
  },
  PORTS_OBSERVED: {
    severity: "warning",
    text: (detail) => `ports that are only observed, every lie of their guests gets through: ${detail}`,
  },
  LINES_UNCHECKED: { severity: "warning", text: (detail) => `lines of the guard that are switched off: ${detail}` },
  POOL_LOW: { severity: "info", text: (detail) => `few free addresses: ${detail}` },
  RELAY_FAILED: { severity: "warning", text: (detail) => `DHCP servers were not asked for guests: ${detail}` },
  ADDRESS_REFUSED: {
    severity: "warning",
    text: (detail) => `addresses that DHCP servers gave and guests cannot have: ${detail}`,
  },
  POOL_FULL: { severity: "warning", text: (detail) => `no free address: ${detail}` },
} as const satisfies Record<string, ConditionSpec>;

export type ConditionCode = keyof typeof conditionCatalogue;
