/** How the daemon is started. */
export interface AgentOptions {
  readonly stateDirectory: string;
  readonly socket: string;
  /** The host's name in the store; its host name when it is left out. */
  readonly host: string | undefined;
  readonly portPrefixes: readonly string[];
  /** Only shut unbound ports, then end. */
  readonly loadOnly: boolean;
  /** Capabilities to be taken for missing. */
  readonly without: readonly string[];
  readonly logLevel: string;
}

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
/** Xen, libvirt and QEMU by hand. */
export const defaultPortPrefixes = ["vif", "vnet", "tap"] as const;
