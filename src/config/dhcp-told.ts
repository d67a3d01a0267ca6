/** The fields of what DHCP clients are told besides their address: boot files, options by number, classes of clients, and what one NIC is told instead. */
import { z } from "zod";
import { parsed } from "./fields.ts";
import {
  address4,
  address6,
  bootText,
  domainName,
  hexText,
  hostname,
  objectName,
  optionText,
  type TextForm,
} from "./text.ts";

const server = "Server, in order of preference.";

/** One of the ways to write a value. */
function valueFields<A>(address: TextForm<A>) {
  return {
    hex: parsed(hexText, "The value in hexadecimal digits.").exactOptional(),
    text: parsed(optionText, "The value as text.").exactOptional(),
    addresses: z
      .array(parsed(address, "Address."))
      .min(1)
      .max(16)
      .exactOptional()
      .describe("The value as addresses, one after the other."),
  };
}

interface WrittenValue<A> {
  readonly hex?: string;
  readonly text?: string;
  readonly addresses?: readonly A[];
  readonly options?: readonly object[];
}

const WAYS = ["hex", "text", "addresses", "options"] as const satisfies readonly (keyof WrittenValue<never>)[];

function hasOneValue<A>(written: WrittenValue<A>, context: z.core.$RefinementCtx<unknown>): void {
  const ways = WAYS.filter((way) => written[way] !== undefined);
  if (ways.length === 1) return;
  const message = ways.length === 0 ? "has no value: hex, text or addresses" : `has several values: ${ways.join(", ")}`;
  context.addIssue({ code: "custom", message });
}

const always = z
  .boolean()
  .exactOptional()
  .describe("Whether it is told though the client did not ask for it; when left out, only those who ask are told.");

const subOption = z
  .strictObject({ code: z.int().min(1).max(254).describe("Its number."), ...valueFields(address4) })
  .superRefine(hasOneValue);

const options = z
  .array(
    z
      .strictObject({
        code: z
          .int()
          .min(1)
          .max(254)
          .describe("Its number. What vifguard says by itself, or by a field of its own, is refused here."),
        always,
        ...valueFields(address4),
        options: z
          .array(subOption)
          .min(1)
          .max(32)
          .exactOptional()
          .describe("Options inside the option, such as those of a vendor in 43."),
      })
      .superRefine(hasOneValue),
  )
  .max(32)
  .exactOptional()
  .describe("DHCP options by number.");

const options6 = z
  .array(
    z
      .strictObject({ code: z.int().min(1).max(65_535).describe("Its number."), always, ...valueFields(address6) })
      .superRefine(hasOneValue),
  )
  .max(32)
  .exactOptional()
  .describe("DHCPv6 options by number.");

const boot = z
  .strictObject({
    server: parsed(
      address4,
      "Next server: where the boot file is (siaddr, and option 66 without `serverName`).",
    ).exactOptional(),
    serverName: parsed(bootText, "Name of the server (option 66).").exactOptional(),
    file: parsed(
      bootText,
      "Boot file: a path, or for HTTP boot and iPXE a URL (the field `file` and option 67).",
    ).exactOptional(),
    url: parsed(bootText, "URL of the boot file for DHCPv6 (RFC 5970).").exactOptional(),
  })
  .exactOptional()
  .describe("Where machines that boot from the network find what to run.");

const ntp6 = z
  .array(parsed(address6, server))
  .max(8)
  .exactOptional()
  .describe("NTP servers told by DHCPv6 (RFC 5908, RFC 4075).");

/** In place of what the network says. */
const tellFields = {
  dns: z.array(parsed(address4, server)).max(8).exactOptional().describe("DNS servers."),
  dns6: z.array(parsed(address6, server)).max(8).exactOptional().describe("DNS servers of IPv6."),
  ntp: z.array(parsed(address4, server)).max(8).exactOptional().describe("NTP servers."),
  ntp6,
  domain: parsed(domainName, "Domain name.").exactOptional(),
  search: z.array(parsed(domainName, "Search domain.")).max(16).exactOptional().describe("Search domains."),
  mtu: z.int().min(576).max(9216).exactOptional().describe("MTU."),
  boot,
  options,
  options6,
};

const classes = z
  .array(
    z.strictObject({
      name: parsed(objectName, "For people: what `describe` and the documents call it."),
      when: z
        .strictObject({
          vendorClass: parsed(
            optionText,
            "How the vendor class begins (option 60, DHCPv6 16), such as PXEClient.",
          ).exactOptional(),
          userClass: parsed(optionText, "The user class (option 77, DHCPv6 15), such as iPXE.").exactOptional(),
          arch: z
            .array(z.int().min(0).max(65_535))
            .min(1)
            .max(32)
            .exactOptional()
            .describe(
              "Client architectures (option 93, DHCPv6 61): 0 BIOS, 7 and 9 UEFI x86-64, 11 UEFI arm64, 16 UEFI x86-64 by HTTP.",
            ),
        })
        .describe("What a client says of itself; all that is named must hold."),
      tell: z.strictObject(tellFields).describe("What it is told in place of what the network says."),
    }),
  )
  .max(32)
  .exactOptional()
  .describe("Classes of clients. The first that matches is the client's.");

/** Of a managed network, besides what every addressing has. */
export const responderFields = {
  conflictDetection: z
    .boolean()
    .exactOptional()
    .describe(
      "Whether the LAN is asked for a guest's IPv4 address before it is given (bridged networks). Whoever answers keeps it from being offered; off when left out.",
    ),
  ntp6,
  boot,
  options,
  options6,
  classes,
};

/** Of a NIC. */
export const nicTell = z
  .strictObject({
    hostname: parsed(hostname, "Host name of this NIC in place of the guest's.").exactOptional(),
    ...tellFields,
  })
  .exactOptional()
  .describe("What DHCP tells this NIC in place of what its network, or the client's class, says.");
