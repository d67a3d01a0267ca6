/** Every error an operator can meet: stable code, exit status, HTTP status and what to do next. */
export interface ErrorSpec {
  readonly exit: number;
  readonly http: number;
  readonly hint: string;
}

/** Exit statuses: 2 usage, 3 not found, 4 refused by the kernel, 5 conflict or exhausted, 6 store, 7 agent unreachable, 1 the rest. */
export const errorCatalogue = {
  USAGE: { exit: 2, http: 400, hint: "Run the command with --help to see what it takes." },
  SITE_INVALID: { exit: 2, http: 400, hint: "Correct the field that is named and apply again; nothing was changed." },
  PHRASE_INVALID: { exit: 2, http: 400, hint: "'vifguard explain --help' lists the phrases, with examples." },
  NOT_FOUND: { exit: 3, http: 404, hint: "'vifguard get networks|groups|guests' lists what there is." },
  IN_USE: { exit: 5, http: 409, hint: "Remove what still refers to it first; 'vifguard describe' shows the users." },
  CONFLICT: {
    exit: 5,
    http: 409,
    hint: "Somebody else changed it meanwhile: look at it again and repeat the command.",
  },
  ADDRESS_TAKEN: {
    exit: 5,
    http: 409,
    hint: "'vifguard get guests' shows who holds it; choose another or leave it out to have one assigned.",
  },
  MAC_TAKEN: {
    exit: 5,
    http: 409,
    hint: "'vifguard get guests' shows who holds it; choose another or leave it out to have one assigned.",
  },
  COOLING_DOWN: {
    exit: 5,
    http: 409,
    hint: "Wait, or choose another. 'vifguard cooling end' frees it now: only when no host can still hold it for its former guest.",
  },
  POOL_EXHAUSTED: {
    exit: 5,
    http: 409,
    hint: "Add a range to the network's range4, delete guests that are no longer used, or wait for what cools down.",
  },
  NOT_EXPORTABLE: {
    exit: 2,
    http: 400,
    hint: "docs/exports.md says what each form can carry; change the network or the guest, or take another form.",
  },
  PORT_MISSING: {
    exit: 3,
    http: 404,
    hint: "The interface must exist before it is attached: 'ip link show' lists them.",
  },
  PORT_NAME: {
    exit: 2,
    http: 400,
    hint: "Name guest ports with one of the guarded prefixes ('vifguard status' shows them), or add the prefix with 'vifguard agent --port-prefix'.",
  },
  PORT_TAKEN: { exit: 5, http: 409, hint: "Detach the port first: 'vifguard detach PORT'." },
  NIC_TAKEN: {
    exit: 5,
    http: 409,
    hint: "A NIC is attached to one port of one host. Move it here with 'vifguard attach PORT --guest GUEST --move', or detach its other port first ('vifguard status' on that host).",
  },
  HOST_TWIN: {
    exit: 5,
    http: 409,
    hint: "Nothing was opened. Every host of a fleet needs a name of its own: start this agent with another --host. Where the other one is gone for good (replaced, installed anew), 'vifguard host forget NAME' at another host frees the name; what was stopped a moment ago is silent within 15 seconds.",
  },
  HOST_DRAINING: {
    exit: 5,
    http: 409,
    hint: "Attach it on another host ('vifguard host list'), or let this one take NICs again: 'vifguard host drain NAME --undo'.",
  },
  HOST_UP: {
    exit: 5,
    http: 409,
    hint: "A host that is heard gives its NICs away itself: 'vifguard host drain NAME', move or detach what is there, stop its agent; 15 seconds later it can be forgotten.",
  },
  HOST_HOLDS: {
    exit: 5,
    http: 409,
    hint: "A host that is silent may only be cut off, with a kernel that answers for its guests. Make sure that it is off (its power, its switch port), then 'vifguard host forget NAME --force' frees its NICs. TWO HOSTS ANSWER FOR ONE ADDRESS if it is not off.",
  },
  MOVE_WAITING: {
    exit: 5,
    http: 504,
    hint: "The port is prepared and opens by itself once that host lets go. 'vifguard detach PORT' gives the move up. Only when that host is off for certain: 'vifguard attach PORT --guest GUEST --move --force'.",
  },
  BRIDGE_MISSING: {
    exit: 4,
    http: 409,
    hint: "Create the bridge the network names ('ip link add NAME type bridge'), or correct wiring.bridge.",
  },
  UPLINK_MISSING: {
    exit: 4,
    http: 409,
    hint: "Create the interface that the network names as its uplink, or correct wiring.uplink; vifguard tries again by itself.",
  },
  ROUTE_TAKEN: {
    exit: 4,
    http: 409,
    hint: "Somebody else's route or proxy entry stands for this address, and vifguard touches none but its own (protocol 118): 'ip route show ADDRESS', 'ip neigh show proxy'. Remove it, or give the guest another address.",
  },
  FORWARDING_OFF: {
    exit: 4,
    http: 409,
    hint: "Before Linux 6.17 IPv6 is forwarded for all interfaces or for none, and that is yours to decide: set net.ipv6.conf.all.forwarding = 1 (and accept_ra = 2 where the host learns its own routes by router advertisement), or leave prefix6 out.",
  },
  POLICY_UNSUPPORTED: {
    exit: 4,
    http: 409,
    hint: "The port stays shut. 'vifguard status' shows what this kernel can do; a NIC whose groups allow everything in and out needs no connection tracking.",
  },
  NAT_UNSUPPORTED: {
    exit: 4,
    http: 409,
    hint: "The port stays shut. 'vifguard status' shows what this kernel can do: networks of wiring nat need inet-nat, and connections that can be tracked (docs/reference/kernel.md).",
  },
  NFT_REFUSED: {
    exit: 4,
    http: 500,
    hint: "The old rules stand and the port stays shut. 'vifguard status' shows the kernel's words; check the kernel's nf_tables support.",
  },
  KERNEL_REFUSED: { exit: 4, http: 500, hint: "Nothing was opened. 'vifguard status' shows what the kernel said." },
  KERNEL_UNSUPPORTED: {
    exit: 4,
    http: 500,
    hint: "Nothing was opened. Run Linux 5.18 or newer with the options that docs/reference/kernel.md lists, and the nft program.",
  },
  NOT_PRIVILEGED: { exit: 4, http: 403, hint: "Run as root, or with CAP_NET_ADMIN and CAP_NET_RAW." },
  VERIFY_FAILED: {
    exit: 4,
    http: 500,
    hint: "What the kernel holds is not what was asked; the port stays shut. Another program may be changing the rules: 'nft monitor' shows it.",
  },
  STORE_UNAVAILABLE: {
    exit: 6,
    http: 503,
    hint: "Check free space and permissions of the state directory; guests keep their rules meanwhile.",
  },
  STORE_CORRUPT: {
    exit: 6,
    http: 500,
    hint: "Put back a copy of the state directory, or move it away and apply the site file again.",
  },
  STORE_NEWER: {
    exit: 6,
    http: 409,
    hint: "Ask an agent of the newer version ('--server'), or upgrade this one first: docs/backup.md has the order.",
  },
  STORE_NOT_EMPTY: {
    exit: 5,
    http: 409,
    hint: "'vifguard import state FILE --replace --dry-run' shows what would change; '--replace' alone puts the file in the place of what is there.",
  },
  STATE_INVALID: {
    exit: 2,
    http: 400,
    hint: "Nothing was changed. Export it again ('vifguard export state'), or take another copy of the file.",
  },
  UNAUTHENTICATED: {
    exit: 4,
    http: 401,
    hint: "Name the file of your token with --token-file; 'vifguard token create' makes one on the host of the agent.",
  },
  FORBIDDEN: {
    exit: 4,
    http: 403,
    hint: "Roles: reader looks, host attaches and detaches too, operator may do everything. 'vifguard token create' makes another token.",
  },
  AGENT_UNREACHABLE: { exit: 7, http: 503, hint: "Start it with 'vifguard agent', or name its socket with --socket." },
  AGENT_RUNNING: { exit: 5, http: 409, hint: "One agent per state directory: stop the other one first." },
  LAB_UP: { exit: 5, http: 409, hint: "'vifguard lab status' shows it; 'vifguard lab down' removes it." },
  LAB_DOWN: { exit: 3, http: 404, hint: "Raise it with 'vifguard lab up'." },
  COMMAND_FAILED: { exit: 1, http: 500, hint: "The text of the program that failed is in the message." },
  INTERNAL: { exit: 1, http: 500, hint: "This is a defect: please report it with the log of the agent." },
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof errorCatalogue;

/** Facts for programs; the same values stand in the message for people. */
export type ErrorFields = Readonly<Record<string, string | number>>;

export class GuardError extends Error {
  readonly code: ErrorCode;
  readonly fields: ErrorFields;

  constructor(code: ErrorCode, message: string, options: { fields?: ErrorFields; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "GuardError";
    this.code = code;
    this.fields = options.fields ?? {};
  }

  get hint(): string {
    return errorCatalogue[this.code].hint;
  }
}

/** Somebody else changed in the store what a transaction was made against. */
export const isConflict = (error: unknown): boolean => error instanceof GuardError && error.code === "CONFLICT";

/** Nothing could be asked of the store, or said to it. */
export const isStoreAway = (error: unknown): boolean =>
  error instanceof GuardError && error.code === "STORE_UNAVAILABLE";
