#!/usr/bin/env bash
# Makes the npm package out of the built tree. See --help.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  cat <<'TEXT'
usage: scripts/package-npm.sh [DIRECTORY]

Writes vifguard-VERSION.tgz to DIRECTORY (default: .) and prints its name: for "npm install -g FILE" on machines of this architecture, and others where
the addon is built once ("npm run build:native" in the installed folder). With the lock file, so that everybody gets the modules that were tested.
Needs a built tree (npm install && npm run build).
TEXT
  exit 0
fi

die() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}
[ $# -le 1 ] || die "one directory; --help says what it takes"
out=$(realpath "${1:-.}")
[ -d "$out" ] || die "'$out' is not a directory"
[ -e dist/main.js ] && [ -n "$(find prebuilds -name vifguard.node 2>/dev/null)" ] || die "the tree is not built: npm install && npm run build"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
# What package.json names; a lock file goes along only under this name.
node -p 'require("./package.json").files.join("\n")' | while read -r path; do
  [ "$path" != npm-shrinkwrap.json ] || continue
  mkdir -p "$stage/$(dirname "$path")"
  cp -r "$path" "$stage/$path"
done
find "$stage/dist" \( -name '*.d.ts' -o -name '*.map' -o -name '.*' \) -type f -delete
cp package.json "$stage/package.json"
cp package-lock.json "$stage/npm-shrinkwrap.json"
(cd "$stage" && npm pack --silent --ignore-scripts --pack-destination "$out")
