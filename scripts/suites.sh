# Sourced by ./selftest and the commands beside it, behind prepare.sh: suites are counted, and their sum is always the last line.

passed=0 failed=0 skipped=0 finished=no
# Reports of the suites, and whatever else a run leaves. Not below /tmp: virtual machines mount their own there and would not see it.
results=$(mktemp -d -p /var/tmp vifguard-selftest.XXXXXX)

# Also when setting up failed or somebody pressed Ctrl-C.
finish() {
  local verdict=0
  rm -rf "$results"
  [ "$finished" = yes ] || failed=$((failed + 1))
  [ "$failed" = 0 ] && [ "$passed" != 0 ] || verdict=1
  if [ "${CI:-}" = true ] && [ "$skipped" != 0 ]; then
    verdict=1
    say "CI=true: skipped tests are not allowed"
  fi
  [ "$verdict" = 0 ] || say "FAILED"
  printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
  exit "$verdict"
}
trap finish EXIT
trap 'exit 130' INT TERM

# "passed failed skipped" of vitest's report.
sum_of_report() {
  node -e '
    const report = JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8"));
    console.log(report.numPassedTests, report.numFailedTests, report.numPendingTests + report.numTodoTests);
  ' "$1"
}

# What vitest left, and the status it, or the machine it ran in, ended with: count_report TITLE REPORT STATUS
# A crash (no report, or a bad status without a failed test) and a suite without tests are failures like any other.
count_report() {
  local title=$1 report=$2 status=$3 p=0 f=0 s=0
  if [ -s "$report" ]; then
    read -r p f s < <(sum_of_report "$report") || { p=0 f=0 s=0 status=1; }
  fi
  if [ "$f" = 0 ] && { [ "$status" != 0 ] || [ "$p" = 0 ]; }; then
    f=1
    say "$title: crashed, ran out of time, or ran no tests (status $status)"
  fi
  say "$title: $p passed, $f failed, $s skipped"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}
