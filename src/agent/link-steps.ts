/** One step towards the link that a wish has in mind. */
import type { Links } from "../kernel/links.ts";
import { unreachable } from "../model/never.ts";
import type { LinkStep } from "../plan/host.ts";

/** @throws PORT_MISSING, KERNEL_REFUSED */
export function runLinkStep(links: Links, step: LinkStep): void {
  switch (step.op) {
    case "set-master":
      links.setMaster(step.ifindex, step.master);
      break;
    case "set-mac":
      links.setMac(step.ifindex, step.mac);
      break;
    case "set-flags":
      links.setBridgePort(step.ifindex, step.flags);
      break;
    case "add-fdb":
      links.addFdb(step.entry);
      break;
    case "delete-fdb":
      links.deleteFdb(step.entry);
      break;
    case "set-up":
      links.setUp(step.ifindex, step.up);
      break;
    default:
      unreachable(step);
  }
}
