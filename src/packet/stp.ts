/** Spanning tree BPDUs (IEEE 802.1D-2004 section 9.3): enough to say who claims to be root. */
import type { MacAddress } from "../model/mac.ts";
import type { Codec } from "./codec.ts";
import { createReader, type Reader, type Reading, strict, unreadable } from "./reader.ts";
import { createWriter, type Writer } from "./writer.ts";

export interface BridgeId {
  readonly priority: number;
  readonly mac: MacAddress;
}

export interface TopologyNotification {
  readonly bpdu: "topology-change";
  readonly version: number;
}

export interface ConfigurationBpdu {
  readonly bpdu: "config" | "rapid";
  /** 0 STP, 2 RSTP, 3 MSTP; higher versions are read alike (section 9.3.4). */
  readonly version: number;
  readonly flags: number;
  readonly root: BridgeId;
  readonly cost: number;
  readonly bridge: BridgeId;
  readonly port: number;
  /** Times in 1/256 of a second. */
  readonly messageAge: number;
  readonly maxAge: number;
  readonly helloTime: number;
  readonly forwardDelay: number;
  /** What RSTP and MSTP add behind. */
  readonly more: Uint8Array;
}

export type Bpdu = TopologyNotification | ConfigurationBpdu;

const types = { config: 0x00, rapid: 0x02, "topology-change": 0x80 } as const;

export function readStp(bytes: Uint8Array): Reading<Bpdu> {
  const reader = createReader(bytes);
  const [protocol, version, type] = [reader.u16(), reader.u8(), reader.u8()];
  if (reader.truncated) return unreadable("truncated");
  if (protocol !== 0) return unreadable("unsupported");
  if (type === types["topology-change"])
    return {
      value: { bpdu: "topology-change", version },
      fault: reader.rest().length > 0 ? "trailing-bytes" : undefined,
    };
  if (type !== types.config && type !== types.rapid) return unreadable("unsupported");
  const value = readConfiguration(reader, type === types.config ? "config" : "rapid", version);
  return reader.truncated ? unreadable("truncated") : { value, fault: undefined };
}

function readConfiguration(reader: Reader, bpdu: "config" | "rapid", version: number): ConfigurationBpdu {
  return {
    bpdu,
    version,
    flags: reader.u8(),
    root: readBridge(reader),
    cost: reader.u32(),
    bridge: readBridge(reader),
    port: reader.u16(),
    messageAge: reader.u16(),
    maxAge: reader.u16(),
    helloTime: reader.u16(),
    forwardDelay: reader.u16(),
    more: reader.rest(),
  };
}

function readBridge(reader: Reader): BridgeId {
  return { priority: reader.u16(), mac: reader.mac() };
}

export const stpCodec: Codec<Bpdu> = {
  name: "stp",
  decode: (bytes) => strict(readStp(bytes)),
  encode: (value) => {
    const writer = createWriter().u16(0).u8(value.version).u8(types[value.bpdu]);
    return value.bpdu === "topology-change" ? writer.done() : writeConfiguration(writer, value).done();
  },
};

function writeConfiguration(writer: Writer, value: ConfigurationBpdu): Writer {
  return writer
    .u8(value.flags)
    .u16(value.root.priority)
    .mac(value.root.mac)
    .u32(value.cost)
    .u16(value.bridge.priority)
    .mac(value.bridge.mac)
    .u16(value.port)
    .u16(value.messageAge)
    .u16(value.maxAge)
    .u16(value.helloTime)
    .u16(value.forwardDelay)
    .bytes(value.more);
}
