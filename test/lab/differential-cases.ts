/** Frames on which kernel and `explain` once disagreed, cut down to what mattered. */
export interface Regression {
  readonly name: string;
  readonly direction: "from" | "to";
  /** Place in the list of ports of the test. */
  readonly port: number;
  readonly hex: string;
  readonly verdict: string;
}

export const regressions: readonly Regression[] = [
  {
    name: "an IPv6 header that is cut off behind its source",
    direction: "from",
    port: 0,
    hex: "027667000002fe00cb00710a86dd6000000000002000fe80000000000000fc00cbfffe00710a00",
    verdict: "drop ip6-shape",
  },
  {
    name: "a later fragment whose data looks like a tunnel's port: nf_tables reads it all the same",
    direction: "from",
    port: 3,
    hex: "027667000003fe00cb00710a08004500005c00002f0000110000cb00710acb007103000017c10000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    verdict: "drop tunnel",
  },
  {
    name: "a destination in 0/8, which is nobody's broadcast address since Linux 5.3",
    direction: "from",
    port: 1,
    hex: "01005e000000fe00cb00710a08004500002a0000000000020000cb00710a0010000016000000e00000fb0000000000000000000000000000",
    verdict: "accept",
  },
  {
    name: "a VRRP advertisement of a NIC that shares an address, in a network with the group",
    direction: "from",
    port: 1,
    hex: "01005e000012fe00cb00710a080045c0002800010000ff700000cb00710ae00000122133960100030000cb0071c90000000000000000",
    verdict: "accept",
  },
  {
    name: "the same of a NIC that shares none",
    direction: "from",
    port: 0,
    hex: "01005e000012fe00cb00710a080045c0002800010000ff700000cb00710ae00000122133960100030000cb0071c90000000000000000",
    verdict: "drop multicast",
  },
  {
    name: "an extension header that the frame cuts off: Linux 6.18 walks past it, 6.1 does not",
    direction: "to",
    port: 1,
    hex: "fe00cb00710a00000000000086dd60000000000000000000000000000000000000000000000020010db800660000fc00cbfffe00710a9c00",
    verdict: "drop ip6-shape",
  },
];
