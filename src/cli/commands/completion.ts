/** Completion for shells. */
import type { Command } from "../command.ts";
import { completion, shells } from "../completion.ts";

export const completionCommand: Command = {
  name: "completion",
  summary: "print a completion script for a shell",
  arguments: [{ name: "SHELL", text: "which shell", required: true, oneOf: shells }],
  options: {},
  examples: [
    "vifguard completion bash > /etc/bash_completion.d/vifguard",
    "vifguard completion fish > ~/.config/fish/completions/vifguard.fish",
  ],
  run: async (input, io) => {
    const { commands } = await import("../commands.ts");
    const shell = shells.find((name) => name === input.argument("SHELL")) ?? "bash";
    io.out(completion(shell, commands));
    return 0;
  },
};
