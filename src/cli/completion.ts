/** Completion scripts for shells, from the table of commands. */
import type { Command } from "./command.ts";
import { globalOptions } from "./command.ts";

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

const optionWords = (command: Command): readonly string[] =>
  Object.keys({ ...globalOptions, ...command.options }).map((name) => `--${name}`);
const firstWords = (commands: readonly Command[]): readonly string[] => [
  ...new Set(commands.map(({ name }) => name.split(" ")[0] ?? "")),
];
const secondWords = (commands: readonly Command[], first: string): readonly string[] =>
  commands.flatMap(({ name, arguments: args }) => {
    const [one, two] = name.split(" ");
    if (one !== first) return [];
    return two === undefined ? (args[0]?.oneOf ?? []) : [two];
  });

function bash(commands: readonly Command[]): string {
  const options = commands.map((command) => `    "${command.name}") words="${optionWords(command).join(" ")}" ;;`);
  const seconds = firstWords(commands).map(
    (first) => `    ${first}) words="${secondWords(commands, first).join(" ")}" ;;`,
  );
  return `# bash completion of vifguard
_vifguard() {
  local cur=\${COMP_WORDS[COMP_CWORD]} one=\${COMP_WORDS[1]:-} two=\${COMP_WORDS[2]:-} words=
  if [[ $cur == -* ]]; then
    case "$one $two" in
${options.map((line) => line.replace(/"([a-z]+)"\)/, '"$1 "*)')).join("\n")}
    esac
  elif ((COMP_CWORD == 1)); then
    words="${firstWords(commands).join(" ")}"
  elif ((COMP_CWORD == 2)); then
    case $one in
${seconds.join("\n")}
    esac
  fi
  if [[ -n $words ]]; then COMPREPLY=($(compgen -W "$words" -- "$cur")); else COMPREPLY=($(compgen -f -- "$cur")); fi
}
complete -F _vifguard vifguard
`;
}

/** zsh takes bash completions as they are. */
const zsh = (commands: readonly Command[]): string => `autoload -U +X bashcompinit && bashcompinit\n${bash(commands)}`;

const quote = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;

function fish(commands: readonly Command[]): string {
  const lines = commands.flatMap(({ name, summary, arguments: args, options }) => {
    const [one = "", two] = name.split(" ");
    const inside = `__fish_seen_subcommand_from ${one}`;
    const first = `complete -c vifguard -n __fish_use_subcommand -f -a ${one} -d ${quote(two === undefined ? summary : one)}`;
    const second = two === undefined ? (args[0]?.oneOf ?? []) : [two];
    return [
      first,
      ...second.map((word) => `complete -c vifguard -n ${quote(inside)} -f -a ${word}`),
      ...Object.entries(options).map(
        ([option, spec]) => `complete -c vifguard -n ${quote(inside)} -l ${option} -d ${quote(spec.text)}`,
      ),
    ];
  });
  return `# fish completion of vifguard\n${[...new Set(lines)].join("\n")}\n`;
}

export function completion(shell: Shell, commands: readonly Command[]): string {
  return { bash, zsh, fish }[shell](commands);
}
