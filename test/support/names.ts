/** Names that tests write down. */
import { type HostId, type InterfaceName, parseHostId, parseInterfaceName } from "../../src/model/names.ts";

function sure<Name>(name: Name | undefined, text: string): Name {
  if (name === undefined) throw new TypeError(`'${text}' is no such name`);
  return name;
}

export const hostIdOf = (text: string): HostId => sure(parseHostId(text), text);
export const interfaceOf = (text: string): InterfaceName => sure(parseInterfaceName(text), text);
