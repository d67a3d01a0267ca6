/** Whoever takes away what routed ports need is noticed: at once where the kernel tells, within seconds where it does not. */
import type { Router, Routing } from "./router.ts";

/** Proxy entries on the uplink go without a word (pneigh_delete tells nobody). */
const LOOK_MS = 5_000;

export function watchRouting({ routes }: Routing, router: Router, disturbed: () => void): { close(): void } {
  const watch = routes.watch((event) => {
    if (router.isDisturbed(event)) disturbed();
  });
  const look = setInterval(() => {
    if (router.isProxyMissing()) disturbed();
  }, LOOK_MS);
  look.unref();
  return {
    close: () => {
      clearInterval(look);
      watch.close();
    },
  };
}
