import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { enterNamespace } from "../../src/kernel/netns.ts";
import { openNft } from "../../src/kernel/nft-netlink.ts";
import { openLinks } from "../../src/kernel/links-netlink.ts";
import { openFrames } from "../../src/kernel/frames-netlink.ts";
import { parseInterfaceName, parsePortPrefix } from "../../src/model/names.ts";
import { parseMac } from "../../src/model/mac.ts";
import { parseIpv4, parsePrefix4 } from "../../src/model/ipv4.ts";
import { buildSkeleton } from "../../src/ruleset/skeleton.ts";
import { createEnforcer } from "../../src/agent/enforcer.ts";
const sh = (...a: string[]) => execFileSync(a[0]!, a.slice(1), { encoding: "utf8" });
test("smoke", async () => {
  sh("ip", "netns", "add", "vgsmoke");
  try {
    enterNamespace("vgsmoke");
    sh("ip", "link", "add", "br0", "type", "bridge"); sh("ip", "link", "set", "br0", "up");
    sh("ip", "link", "add", "vif1.0", "type", "veth", "peer", "name", "g1");
    const nft = openNft(), links = openLinks(), frames = openFrames();
    const events: unknown[] = []; links.watch((e) => events.push(e.kind)); let foreign = 0; nft.watch(() => { foreign++; });
    const sk = buildSkeleton([parsePortPrefix("vif")!]);
    const enf = createEnforcer(nft, links, sk);
    console.log(await enf.ensureSkeleton()); console.log(await enf.ensureSkeleton());
    const l = links.byName(parseInterfaceName("vif1.0")!)!; const br = links.byName(parseInterfaceName("br0")!)!;
    const wish = { port: parseInterfaceName("vif1.0")!, bridge: br.ifindex, binding: { ifindex: l.ifindex, mac: parseMac("fe:00:0a:00:00:05")!, addresses4: [parseIpv4("10.0.0.5")!], network: 0x10001 } };
    const net = { network: 0x10001, prefix4: parsePrefix4("10.0.0.0/24")!, gateway4: parseIpv4("10.0.0.1")!, members: [{ address: parseIpv4("10.0.0.5")!, mac: wish.binding.mac }] };
    const t = performance.now(); enf.attach(wish); console.log("attach ms", performance.now() - t);
    console.log(await enf.reconcile({ ports: [wish], networks: [net] })); console.log((await enf.reconcile({ ports: [wish], networks: [net] })).changed);
    console.log(sh("nft", "list", "ruleset").split("\n").filter((x) => /elements|in\/|out\/|sealed/.test(x)).join("\n"));
    console.log(sh("bridge", "-d", "link", "show")); console.log(sh("bridge", "fdb"));
    await new Promise((r) => setTimeout(r, 100)); console.log(events, "foreign", foreign);
    sh("nft", "flush", "ruleset"); await new Promise((r) => setTimeout(r, 100)); console.log("foreign", foreign);
    console.log(await enf.ensureSkeleton()); console.log((await enf.reconcile({ ports: [wish], networks: [net] })).changed);
    enf.detach(wish.port, l.ifindex, wish);
    console.log((await enf.reconcile({ ports: [], networks: [net] })).changed);
  } finally { sh("ip", "netns", "del", "vgsmoke"); }
});
