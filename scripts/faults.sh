# Sourced by ./selftest-faults, behind prepare.sh and suites.sh: what it needs besides, and the table of what was measured.

# What is looked for, and the Debian package that brings it. Only here: ./selftest needs none of it.
fault_tools="faketime:faketime strace:strace"

# A line for each fault, from the lines of JSON that the tests wrote.
print_table() {
  node -e '
    const rows = require("node:fs").readFileSync(process.argv[1], "utf8").trim().split("\n").map((line) => JSON.parse(line));
    const titles = ["fault", "changes again, ms", "whole, ms", "steady guests, ms", "guests that move, ms"];
    console.log(`| ${titles.join(" | ")} |\n|${" --- |".repeat(titles.length)}`);
    for (const { fault, writable, whole, gap, moverGap } of rows) console.log(`| ${[fault, writable, whole, gap, moverGap].join(" | ")} |`);
  ' "$1"
}
