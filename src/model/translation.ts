/** What the public addresses of a NIC lead to, port by port. */
import type { Ipv4Address } from "./ipv4.ts";
import type { PublicService } from "./resources.ts";

/** One port of a public address, and the guest's port behind it. */
export interface Forward {
  readonly public4: Ipv4Address;
  readonly protocol: PublicService["protocol"];
  readonly port: number;
  readonly to: number;
}

export function forwardsOf(services: readonly PublicService[]): readonly Forward[] {
  return services.flatMap(({ public4, protocol, ports, to }) =>
    ports.flatMap(({ first, last }) =>
      Array.from({ length: last - first + 1 }, (_, n) => ({
        public4,
        protocol,
        port: first + n,
        to: (to ?? first) + n,
      })),
    ),
  );
}
