#!/usr/bin/env bash
# Makes the Debian package out of the built tree. See --help.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  cat <<'TEXT'
usage: scripts/package-deb.sh [--version VERSION] [DIRECTORY]

Writes vifguard_VERSION_ARCHITECTURE.deb to DIRECTORY (default: .) and prints its name. The version is that of package.json unless it is named.
Needs a built tree (npm install && npm run build) and dpkg-deb. The same tree gives the same bytes.
TEXT
  exit 0
fi

die() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

version=
if [ "${1:-}" = --version ]; then
  version=${2:?"--version needs a version"}
  shift 2
fi
[ $# -le 1 ] || die "one directory; --help says what it takes"
out=${1:-.}
[ -d "$out" ] || die "'$out' is not a directory"
command -v dpkg-deb >/dev/null || die "dpkg-deb is missing: packages of Debian are made on Debian"
[ -e dist/main.js ] && [ -n "$(find prebuilds -name vifguard.node 2>/dev/null)" ] || die "the tree is not built: npm install && npm run build"

# A pre-release sorts before its release only with a tilde.
[ -n "$version" ] || version=$(node -p 'require("./package.json").version' | sed 's/-/~/')
architecture=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/root
lib=$root/usr/lib/vifguard
share=$root/usr/share
umask 022

put() { # MODE FILE TO
  install -D -m "$1" "$2" "$root$3"
}

# What runs, beside the package.json that it reads its version from. Types and maps are for developers.
mkdir -p "$lib" "$root/usr/bin" "$root/etc/vifguard"
cp -r dist guest "$lib/"
find "$lib/dist" \( -name '*.d.ts' -o -name '*.map' -o -name '.*' \) -type f -delete
install -D -m 644 prebuilds/linux-"$(node -p process.arch)"-glibc/vifguard.node -t "$lib/prebuilds/linux-$(node -p process.arch)-glibc"
strip --strip-unneeded "$lib"/prebuilds/*/vifguard.node 2>/dev/null || true
install -m 644 package.json "$lib/package.json"
sed -i '1s,.*,#!/usr/bin/node,' "$lib/dist/main.js"
chmod 755 "$lib/dist/main.js" "$lib/guest/vifguard-net"
ln -s ../lib/vifguard/dist/main.js "$root/usr/bin/vifguard"

# Of the lock file what is not for developers, and of that what npm found fit for this machine.
production_modules() {
  node -e '
    for (const [path, entry] of Object.entries(require("./package-lock.json").packages))
      if (path !== "" && entry.dev !== true && !/musl/.test(path) && require("node:fs").existsSync(path)) console.log(path);
  '
}
production_modules | while read -r module; do
  mkdir -p "$lib/$(dirname "$module")"
  cp -rL --no-preserve=ownership "$module" "$lib/$module"
  # Modules below a module are entries of their own.
  rm -rf "${lib:?}/$module/node_modules"
done
# What no program reads: tests, types, sources and notes of the modules. Their licences stay.
find "$lib/node_modules" -type d \( -name test -o -name tests -o -name .github -o -name examples -o -name benchmark -o -name benchmarks -o -name .husky -o -name integration -o -name scripts -o -name docs \) -prune -exec rm -rf {} +
find "$lib/node_modules" -type f \( -name '*.ts' -o -name '*.cts' -o -name '*.mts' -o -name '*.map' -o -name '*.md' -o -name '*.sh' -o -name '.*' \) -delete
find "$lib" -type d -empty -delete
chmod -R u=rwX,go=rX "$lib"
find "$lib/node_modules" -type f -exec chmod 644 {} +

for hook in hooks/*; do put 755 "$hook" "/usr/share/vifguard/$hook"; done
chmod 644 "$share/vifguard/hooks/vif-post.hook"
# Where they do nothing until a configuration names them. What would act at once (libvirt's hook, vif-post.d) is linked by hand.
mkdir -p "$root/etc/xen/scripts" "$root/usr/lib/cni"
ln -s /usr/share/vifguard/hooks/vif-vifguard "$root/etc/xen/scripts/vif-vifguard"
ln -s ../../share/vifguard/hooks/vifguard-cni "$root/usr/lib/cni/vifguard-cni"

for unit in packaging/systemd/*.service; do put 644 "$unit" "/usr/lib/systemd/system/${unit##*/}"; done
for part in packaging/systemd/nspawn.*; do put 644 "$part" "/usr/share/vifguard/systemd/${part##*/}"; done
put 644 packaging/debian/vifguard.default /etc/default/vifguard

node dist/main.js docs --man --directory "$stage/man" >/dev/null
for page in "$stage"/man/*; do
  gzip -9n "$page"
  put 644 "$page.gz" "/usr/share/man/man${page##*.}/${page##*/}.gz"
done
node dist/main.js completion bash >"$stage/bash" && put 644 "$stage/bash" /usr/share/bash-completion/completions/vifguard
node dist/main.js completion zsh >"$stage/zsh" && put 644 "$stage/zsh" /usr/share/zsh/vendor-completions/_vifguard
node dist/main.js completion fish >"$stage/fish" && put 644 "$stage/fish" /usr/share/fish/vendor_completions.d/vifguard.fish

doc=/usr/share/doc/vifguard
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
put 644 packaging/debian/copyright "$doc/copyright"
for page in docs/*.md docs/platforms/*.md docs/reference/*.md README.md; do put 644 "$page" "$doc/$page"; done
gzip -9nc CHANGELOG.md >"$stage/changes" && put 644 "$stage/changes" "$doc/changelog.gz"
maintainer=$(sed -n 's/^Maintainer: //p' packaging/debian/control)
printf 'vifguard (%s) unstable; urgency=medium\n\n  * What changed stands in changelog.gz.\n\n -- %s  %s\n' "$version" "$maintainer" "$(date -uR -d "@$date")" |
  gzip -9n >"$stage/debian" && put 644 "$stage/debian" "$doc/changelog.Debian.gz"

mkdir "$root/DEBIAN"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
printf '/etc/default/vifguard\n' >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 "packaging/debian/$script" "$root/DEBIAN/$script"; done
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$(du -sk --apparent-size "$root" | cut -f 1)/" packaging/debian/control >"$root/DEBIAN/control"

find "$root" -exec touch -h -d "@$date" {} +
SOURCE_DATE_EPOCH=$date dpkg-deb --root-owner-group -Zxz -z3 --build "$root" "$out/vifguard_${version}_$architecture.deb" >/dev/null
printf '%s\n' "$out/vifguard_${version}_$architecture.deb"
