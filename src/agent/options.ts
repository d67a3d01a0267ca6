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
  /** The store of a fleet; without it the store is a file of this host. */
  readonly etcd: EtcdSettings | undefined;
  /** Where it answers besides its socket. */
  readonly network: NetworkSettings | undefined;
}

/** Names of files, not what is in them. */
export interface NetworkSettings {
  /** Address and port. */
  readonly listen: string;
  readonly cert: string;
  readonly key: string;
  readonly tokens: string;
}

/** As the operator writes it: names of files, not what is in them. */
export interface EtcdSettings {
  readonly endpoints: readonly string[];
  readonly root: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly user?: string;
  readonly passwordFile?: string;
}

export const defaultEtcdRoot = "vifguard/1";

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
/** Xen, libvirt and QEMU by hand. */
export const defaultPortPrefixes = ["vif", "vnet", "tap"] as const;
