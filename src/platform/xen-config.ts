/** Domain configurations of xl: `name = "web1"` and `vif = [ 'mac=…,bridge=…,ip=…', … ]`. */
export interface XenVif {
  readonly mac: string | undefined;
  readonly bridge: string | undefined;
  readonly addresses: readonly string[];
}

export interface XenDomain {
  readonly name: string;
  readonly vifs: readonly XenVif[];
}

const STRING = /"([^"\n]*)"|'([^'\n]*)'/g;

const withoutComments = (text: string): string =>
  text.replace(/("[^"\n]*"|'[^'\n]*')|#[^\n]*/g, (_, quoted: string | undefined) => quoted ?? "");

const stringsIn = (text: string): readonly string[] => [...text.matchAll(STRING)].map(([, a, b]) => a ?? b ?? "");

function parseVif(text: string): XenVif {
  const fields = new Map(
    text.split(",").map((part) => {
      const equals = part.indexOf("=");
      return equals < 0 ? [part.trim(), ""] : [part.slice(0, equals).trim(), part.slice(equals + 1).trim()];
    }),
  );
  return {
    mac: fields.get("mac"),
    bridge: fields.get("bridge"),
    addresses: (fields.get("ip") ?? "").split(/\s+/).filter((address) => address !== ""),
  };
}

/** Undefined when no domain is named in it. */
export function parseXenConfig(text: string): XenDomain | undefined {
  const plain = withoutComments(text);
  const name = stringsIn(/^\s*name\s*=\s*(.*)$/m.exec(plain)?.[1] ?? "")[0];
  if (name === undefined || name === "") return undefined;
  const list = /^\s*vif\s*=\s*\[((?:"[^"]*"|'[^']*'|[^\]"'])*)\]/m.exec(plain)?.[1] ?? "";
  return { name, vifs: stringsIn(list).map(parseVif) };
}
