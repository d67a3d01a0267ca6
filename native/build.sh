#!/bin/sh
# Builds the addon for this machine into prebuilds/, when the source is newer than what is there.
set -eu
cd "$(dirname "$0")/.."
machine=$(node -p 'process.arch')
libc=glibc
if ldd --version 2>&1 | grep -qi musl; then libc=musl; fi
out=prebuilds/linux-$machine-$libc/vifguard.node
if [ -f "$out" ] && [ ! native/vifguard.c -nt "$out" ]; then exit 0; fi
command -v cc >/dev/null || { echo "native/build.sh: no C compiler: install gcc and libc6-dev" >&2; exit 1; }
headers=node_modules/node-api-headers/include
# Where vifguard is installed without its tools, Node's own do, if they are there.
[ -d "$headers" ] || headers=$(node -p 'require("node:path").resolve(process.execPath, "../../include/node")')
[ -e "$headers/node_api.h" ] || { echo "native/build.sh: node_api.h is missing: run 'npm install', or install Node's headers" >&2; exit 1; }
mkdir -p "$(dirname "$out")"
# Written beside and renamed, so that two builds at once never leave half a file.
cc -O2 -Wall -Wextra -Werror -fPIC -shared -I "$headers" native/vifguard.c -o "$out.$$"
mv "$out.$$" "$out"
echo "built $out"
