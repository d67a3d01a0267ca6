/** As much XML as libvirt writes: elements, attributes, text, entities; comments, processing instructions and CDATA are understood, DTDs refused. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** All character data directly inside. */
  readonly text: string;
}

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function decoded(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return ENTITIES[name] ?? whole;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

interface Draft {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: XmlElement[];
  text: string;
}

// In this order: what is not an element, a closing tag, an opening tag, text. Sticky, so that nothing is skipped.
const TOKEN =
  /<!--(?:[^-]|-(?!->))*-->|<\?[^>]*\?>|<!\[CDATA\[(?<data>(?:[^\]]|\](?!\]>))*)\]\]>|<\/(?<close>[\w:.-]+)\s*>|<(?<open>[\w:.-]+)(?<attributes>(?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(?<empty>\/?)>|(?<text>[^<]+)/y;
const ATTRIBUTE = /([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;
const DEEPEST = 256;

function attributesOf(text: string): ReadonlyMap<string, string> {
  return new Map([...text.matchAll(ATTRIBUTE)].map(([, name = "", a, b]) => [name, decoded(a ?? b ?? "")]));
}

/** The root element; undefined for what is not well-formed. */
export function parseXml(text: string): XmlElement | undefined {
  const roots: XmlElement[] = [];
  const open: Draft[] = [];
  const token = new RegExp(TOKEN);
  while (token.lastIndex < text.length) {
    const groups = token.exec(text)?.groups;
    if (groups === undefined) return undefined;
    if (!take(groups, open, roots)) return undefined;
  }
  return open.length === 0 && roots.length === 1 ? roots[0] : undefined;
}

function take(groups: Readonly<Record<string, string | undefined>>, open: Draft[], roots: XmlElement[]): boolean {
  const { data, close, open: name, attributes = "", empty, text } = groups;
  const inner = open.at(-1);
  if (name !== undefined) {
    const draft: Draft = { name, attributes: attributesOf(attributes), children: [], text: "" };
    (inner?.children ?? roots).push(draft);
    if (empty !== "/") open.push(draft);
    return open.length <= DEEPEST;
  }
  if (close !== undefined) return open.pop()?.name === close;
  const more = data ?? (text === undefined ? "" : decoded(text));
  if (inner !== undefined) inner.text += more;
  return inner !== undefined || more.trim() === "";
}

export function childrenOf(element: XmlElement | undefined, name: string): readonly XmlElement[] {
  return element?.children.filter((child) => child.name === name) ?? [];
}

export function childOf(element: XmlElement | undefined, ...path: readonly string[]): XmlElement | undefined {
  return path.reduce<XmlElement | undefined>((found, name) => childrenOf(found, name)[0], element);
}
