/** Every command, in the order help shows them. */
import type { Command } from "./command.ts";
import { agentCommand } from "./commands/agent.ts";
import { exportCmdlineCommand } from "./commands/cmdline.ts";
import { cniCommand } from "./commands/cni.ts";
import { completionCommand } from "./commands/completion.ts";
import { coolingCommands } from "./commands/cooling.ts";
import { docsCommand } from "./commands/docs.ts";
import { dropsCommand } from "./commands/drops.ts";
import { explainCommand } from "./commands/explain.ts";
import { exportDhcpdCommand, exportDnsmasqCommand, exportKeaCommand } from "./commands/export.ts";
import { hookCommands } from "./commands/hook.ts";
import { hostCommands } from "./commands/host.ts";
import { importCommands } from "./commands/import.ts";
import { labCommands } from "./commands/lab.ts";
import { leaseListCommand, leaseReleaseCommand } from "./commands/lease.ts";
import { policyMatrixCommand } from "./commands/policy.ts";
import { activateCommand, attachCommand, detachCommand, statusCommand } from "./commands/ports.ts";
import { exportRoutesCommand } from "./commands/routes.ts";
import { applyCommand, deleteCommand, describeCommand, getCommand, planCommand } from "./commands/site.ts";
import { exportBirdCommand, exportFrrCommand } from "./commands/speaker.ts";
import { stateCommands } from "./commands/state.ts";
import { tapCommands } from "./commands/tap.ts";
import { tokenCommands } from "./commands/token.ts";
import { watchCommand } from "./commands/watch.ts";

export const commands: readonly Command[] = [
  applyCommand,
  planCommand,
  getCommand,
  describeCommand,
  deleteCommand,
  attachCommand,
  activateCommand,
  detachCommand,
  statusCommand,
  dropsCommand,
  explainCommand,
  policyMatrixCommand,
  leaseListCommand,
  leaseReleaseCommand,
  ...coolingCommands,
  ...hostCommands,
  exportDhcpdCommand,
  exportKeaCommand,
  exportDnsmasqCommand,
  exportCmdlineCommand,
  exportRoutesCommand,
  exportBirdCommand,
  exportFrrCommand,
  ...importCommands,
  ...stateCommands,
  watchCommand,
  ...tapCommands,
  ...hookCommands,
  cniCommand,
  ...labCommands,
  agentCommand,
  ...tokenCommands,
  completionCommand,
  docsCommand,
];
