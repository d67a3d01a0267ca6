# Sourced by ./quickstart and ./selftest: makes the machine and the tree ready, doing only what is missing.
# Expects the working directory to be the root of the repository.

started=$(date +%s)

say() { printf '[%4ss] %s\n' "$(($(date +%s) - started))" "$*"; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

need_machine() {
  [ "$(uname -s)" = Linux ] || die "vifguard needs Linux; this is $(uname -s)"
  [ "$(id -u)" = 0 ] || die "this needs root: it makes network namespaces and installs missing packages" "run it again with: sudo $0"
  command -v node >/dev/null && command -v npm >/dev/null || die "Node 20 (20.19 or newer) with npm is missing" "install it, so that 'node --version' answers"
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
    die "Node $(node --version) is too old" "vifguard needs Node 20.19 or newer"
}

# What is looked for, and the Debian package that brings it.
tools="nft:nftables ip:iproute2 dhclient:isc-dhcp-client udhcpc:udhcpc dhcpcd:dhcpcd-base tcpdump:tcpdump
ping:iputils-ping systemd-networkd:systemd ethtool:ethtool conntrack:conntrack socat:socat gcc:gcc
arpspoof:dsniff yersinia:yersinia atk6-parasite6:thc-ipv6 hping3:hping3 nping:nmap keepalived:keepalived iperf3:iperf3
dhcpd:isc-dhcp-server kea-dhcp4:kea-dhcp4-server kea-dhcp6:kea-dhcp6-server dnsmasq:dnsmasq-base
bird:bird2 vtysh:frr
qemu-system-x86_64:qemu-system-x86 depmod:kmod cpio:cpio ipconfig:klibc-utils etcd:etcd-server etcdctl:etcd-client openssl:openssl"

# Servers among them, PACKAGE or PACKAGE:SERVICE: they are run by tests, in network namespaces, and must not serve this machine's own networks, now or after the next boot.
daemons="isc-dhcp-server kea-dhcp4-server kea-dhcp6-server etcd-server:etcd bird2:bird frr"

missing_packages() {
  for pair in $tools; do
    PATH="$PATH:/usr/sbin:/sbin:/usr/lib/systemd:/lib/systemd:/usr/lib/klibc/bin" command -v "${pair%%:*}" >/dev/null || printf '%s ' "${pair##*:}"
  done
  [ -e /usr/include/stdio.h ] || printf 'libc6-dev '
}

# Debian asks policy-rc.d before it starts what it has installed; a machine that has one keeps its own.
without_daemons() (
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  "$@"
)

disable_daemons() {
  command -v systemctl >/dev/null || return 0
  local daemon
  for daemon in $daemons; do
    case " $1 " in *" ${daemon%%:*} "*) systemctl --quiet disable "${daemon##*:}" 2>/dev/null || true ;; esac
  done
}

install_packages() {
  local missing log
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || die "programs are missing and this is not Debian" "install what gives you these Debian packages: $missing"
  say "installing Debian packages: $missing"
  log=$(mktemp)
  # The names are separate words on purpose.
  # shellcheck disable=SC2086
  if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive without_daemons apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    die "apt-get could not install: $missing" "its last words are above"
  fi
  rm -f "$log"
  disable_daemons "$missing"
}

# Of modules and all they need, in the order to load them; what is built in has no file: module_files ROOT RELEASE MODULE…
module_files() {
  local root=$1 release=$2 module
  shift 2
  for module in "$@"; do
    modprobe -d "$root" -S "$release" --show-depends "$module" 2>/dev/null | sed -n 's/^insmod \([^ ]*\).*/\1/p'
  done | awk '!seen[$0]++'
}

# A stock kernel for guests that tests boot under QEMU's emulator: Debian's small one for amd64, 27 MB, with the modules of a NIC. Unpacked here, never installed.
guest_kernel=${VIFGUARD_KERNEL_CACHE:-/var/cache/vifguard-kernels}/guest

unpack_guest_kernel() {
  local work=$1 package release file
  package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
  [ -n "$package" ] || return 1
  release=${package#linux-image-}
  (cd "$work" && apt-get download -q -o APT::Sandbox::User=root "$package") || return 1
  dpkg-deb -x "$work"/*.deb "$work/root" && depmod -b "$work/root" "$release" || return 1
  mkdir -p "$work/guest"
  module_files "$work/root" "$release" virtio_pci virtio_net | while read -r file; do
    cp "$file" "$work/guest/"
    basename "$file" >>"$work/guest/modules"
  done
  [ -s "$work/guest/modules" ] && mv "$work/root/boot/vmlinuz-$release" "$work/guest/vmlinuz"
}

fetch_guest_kernel() {
  local work log
  [ ! -e "$guest_kernel/vmlinuz" ] && [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || return 0
  say "fetching a Debian kernel for guests"
  mkdir -p "${guest_kernel%/*}"
  work=$(mktemp -d -p "${guest_kernel%/*}")
  log=$(mktemp)
  # Lists that are too old name a kernel that is no longer there.
  unpack_guest_kernel "$work" >"$log" 2>&1 || { apt-get update -q && unpack_guest_kernel "$work"; } >>"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    rm -rf "$work" "$log"
    die "Debian's kernel for guests could not be fetched" "the last words of apt-get are above"
  }
  mv -T "$work/guest" "$guest_kernel"
  rm -rf "$work" "$log"
}

install_modules() {
  local stamp=node_modules/.vifguard-lock wanted
  wanted=$(sha256sum <package-lock.json)
  [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
  say "npm install: the lock file is new"
  # Not "npm ci": it wants the optional packages of every other platform in the lock file, which npm does not always write there.
  npm install --no-save --no-audit --no-fund --loglevel=error || die "npm install failed" "its words are above"
  printf '%s\n' "$wanted" >"$stamp"
}

# What is built is a function of these files and of nothing else.
source_sum() {
  {
    node --version
    {
      find src native -type f \( -name '*.ts' -o -name '*.c' -o -name '*.h' -o -name '*.sh' \) ! -name '*.test.ts' -print0
      printf '%s\0' package.json package-lock.json tsconfig.json tsconfig.build.json
    } | LC_ALL=C sort -z | xargs -0 sha256sum
  } | sha256sum
}

build_tree() {
  local stamp=dist/.vifguard-sources wanted
  wanted=$(source_sum)
  [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || [ ! -e dist/main.js ] || [ -z "$(find prebuilds -name vifguard.node 2>/dev/null)" ] || return 0
  say "building: native addon, then TypeScript"
  npm run --silent build || die "the build failed" "its words are above"
  printf '%s\n' "$wanted" >"$stamp"
}

# One at a time per machine and tree: two runs must not install or build into each other.
prepare() {
  need_machine
  export PATH="$PATH:/usr/sbin:/sbin"
  mkdir -p /run/lock
  exec 9>"/run/lock/vifguard-$(pwd -P | sha256sum | cut -c1-16).lock"
  flock -n 9 || { say "waiting for another run in this tree to finish building"; flock 9; }
  exec 8>/run/lock/vifguard-packages.lock
  flock 8
  install_packages
  fetch_guest_kernel
  exec 8>&-
  install_modules
  build_tree
  exec 9>&-
  say "ready"
}
