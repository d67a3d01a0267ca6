/** Who may do what over the network. On the agent's own socket whoever can open it may do everything. */

/** `read` changes nothing; `attach` gives ports to NICs and takes them back; `operate` is everything else. */
export type Permission = "read" | "attach" | "operate";

export const accessRoles = {
  /** Looks: dashboards, exports for other servers. */
  reader: ["read"],
  /** What a hypervisor calls. */
  host: ["read", "attach"],
  operator: ["read", "attach", "operate"],
} as const satisfies Readonly<Record<string, readonly Permission[]>>;

export type AccessRole = keyof typeof accessRoles;
export const accessRoleNames = ["reader", "host", "operator"] as const satisfies readonly AccessRole[];

export function parseAccessRole(text: string): AccessRole | undefined {
  return accessRoleNames.find((role) => role === text);
}

export const allows = (role: AccessRole, permission: Permission): boolean =>
  accessRoles[role].some((one) => one === permission);

/** Who asked, as the audit log has it. */
export interface Caller {
  readonly name: string;
  readonly role: AccessRole;
}
