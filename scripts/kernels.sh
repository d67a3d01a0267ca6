# Sourced by ./selftest-kernels: stock Debian kernels, fetched and booted under QEMU's emulator (TCG), so that it works on machines without KVM.
# The virtual machine has no disk: it sees this machine's own / read-only by 9p below a tmpfs overlay, so node, nft and the built tree are those of here
# and only the kernel is another. A second, small 9p share takes the report out.

# Not below /tmp or /run: the machine mounts its own there and would not see it.
kernel_cache=${VIFGUARD_KERNEL_CACHE:-/var/cache/vifguard-kernels}
debian_mirror=${VIFGUARD_DEBIAN_MIRROR:-}

# Which Debian ships which; the first kernel is the older one, without wildcard netdev devices.
suites_of() {
  case $1 in
    6.1) echo "bookworm bookworm-security" ;;
    6.12) echo "trixie trixie-security" ;;
    *) return 1 ;;
  esac
}

# The machine's own mirror, whichever notation its sources have: "URIs:" in the new one, "deb [options] URI" in the old.
mirror() {
  local found=$debian_mirror
  [ -n "$found" ] || found=$(find /etc/apt/sources.list /etc/apt/sources.list.d -type f \( -name '*.list' -o -name '*.sources' \) -exec cat {} + 2>/dev/null |
    sed -n -e 's/^URIs:[[:space:]]*//p' -e 's/^deb[[:space:]]\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p' |
    sed 's,/*$,,' | awk '/\/debian$/ && !seen++') || true
  [ -n "$found" ] || die "apt's sources name no mirror of Debian" "name one in VIFGUARD_DEBIAN_MIRROR"
  printf '%s\n' "$found"
}

# What is looked for, and the Debian package that brings it. Only here: ./selftest needs none of it.
vm_tools="qemu-system-x86_64:qemu-system-x86 depmod:kmod cpio:cpio xz:xz-utils"

need_vm_tools() {
  [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || die "the stock kernels that are booted here are Debian's for amd64" "run it on Debian, amd64"
  tools="$tools $vm_tools"
  # Only a busybox without shared libraries runs in an initramfs: a name that is never found makes its package one that is missing.
  dpkg -s busybox-static >/dev/null 2>&1 || tools="$tools static-busybox:busybox-static"
}

# apt with lists of its own, so that the machine's are untouched and another release can be asked.
apt_of() {
  local home=$1
  shift
  local command=$1
  shift
  "$command" -o Dir::Etc::sourcelist="$home/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$home/lists" \
    -o Dir::Cache="$home/cache" -o APT::Sandbox::User=root "$@"
}

# Newest stock kernel of a release. linux-image-amd64 is the package that names it.
fetch_kernel() {
  local series=$1 home=$kernel_cache/$1 base suite package
  [ ! -e "$home/release" ] || return 0
  base=$(mirror)
  say "fetching Debian's kernel $series"
  rm -rf "$home"
  mkdir -p "$home/lists/partial" "$home/cache/archives/partial" "$home/deb"
  for suite in $(suites_of "$series"); do
    case $suite in
      *-security) printf 'deb [signed-by=%s] %s %s main\n' /usr/share/keyrings/debian-archive-keyring.gpg "${base%/debian}/debian-security" "$suite" ;;
      *) printf 'deb [signed-by=%s] %s %s main\n' /usr/share/keyrings/debian-archive-keyring.gpg "$base" "$suite" ;;
    esac
  done >"$home/sources.list"
  apt_of "$home" apt-get update -q >"$home/log" 2>&1 || { tail -n 20 "$home/log" >&2; die "the package lists of Debian's kernel $series could not be read" "its words are above"; }
  package=$(apt_of "$home" apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
  case $package in linux-image-"$series".*) ;; *) die "Debian's newest kernel of $(suites_of "$series") is '$package', not $series" ;; esac
  (cd "$home/deb" && apt_of "$home" apt-get download -q "$package") >>"$home/log" 2>&1 || { tail -n 20 "$home/log" >&2; die "$package could not be fetched" "its words are above"; }
  dpkg-deb -x "$home"/deb/*.deb "$home/root"
  # Packages of a release with merged /usr unpack below usr/lib; one path for both.
  [ -d "$home/root/lib/modules" ] || { mkdir -p "$home/root/lib" && ln -s ../usr/lib/modules "$home/root/lib/modules"; }
  depmod -b "$home/root" "${package#linux-image-}"
  rm -rf "$home/lists" "$home/cache" "$home/deb"
  printf '%s\n' "${package#linux-image-}" >"$home/release"
}

# What a machine boots into: busybox, modules, and files of ours: pack_initramfs HOME RELEASE OUT "MODULES" INIT [FILE…]
pack_initramfs() {
  local home=$1 release=$2 out=$3 modules=$4 init=$5 root module file
  shift 5
  root=$(mktemp -d)
  mkdir -p "$root/bin" "$root/modules" "$root/proc" "$root/sys" "$root/dev"
  cp /bin/busybox "$root/bin/busybox"
  cp "$init" "$root/init"
  chmod 755 "$root/init"
  [ $# = 0 ] || cp "$@" "$root/"
  # The names are separate words on purpose.
  # shellcheck disable=SC2086
  module_files "$home/root" "$release" $modules | while read -r file; do
    module=$(basename "${file%.xz}")
    case $file in *.xz) xz -dc "$file" >"$root/modules/$module" ;; *) cp "$file" "$root/modules/$module" ;; esac
    printf '%s\n' "$module" >>"$root/modules/order"
  done
  (cd "$root" && find . -print0 | cpio -0 --quiet -o -H newc -R 0:0) >"$out"
  rm -rf "$root"
}

# What the machine is to run in this tree: write_command OUT [NAME=VALUE…] COMMAND…
write_command() {
  local out=$1
  shift
  {
    printf 'cd %q && exec env' "$PWD"
    printf ' %q' PATH="$PATH" HOME=/root TERM=dumb NO_COLOR=1 "$@"
    printf '\n'
  } >"$out/command"
}

# A machine that sees this one's / and OUT, with the processor, the memory and the kernel that QEMU is told: boot OUT SECONDS QEMU-ARGUMENT…
# OUT/report and whatever else the command writes to /run/out are left in OUT. Status of the command; 98 when the machine ended by itself, 124 out of time.
boot() {
  local out=$1 seconds=$2 status=0
  shift 2
  timeout --foreground "$seconds" qemu-system-x86_64 -accel "${accel:-tcg,thread=multi}" -machine q35 \
    -nodefaults -no-user-config -display none -no-reboot -serial stdio -device virtio-rng-pci \
    -fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap -device virtio-9p-pci,fsdev=root,mount_tag=root \
    -fsdev local,id=out,path="$out",security_model=none -device virtio-9p-pci,fsdev=out,mount_tag=out \
    "$@" </dev/null | sed -u 's/\r//g' || status=$?
  [ "$status" != 124 ] || return 124
  [ ! -s "$out/status" ] || return "$(cat "$out/status")"
  return 98
}

# Just enough to see / by 9p.
make_initramfs() { pack_initramfs "$1" "$2" "$3" "virtio_pci virtio_rng 9pnet_virtio 9p overlay" scripts/kernel-init; }

# Boots the kernel of a series and runs a command of this tree in it: run_on SERIES OUT SECONDS COMMAND…
run_on() {
  local series=$1 out=$2 seconds=$3 home=$kernel_cache/$1 release
  shift 3
  release=$(cat "$home/release")
  make_initramfs "$home" "$release" "$out/initramfs"
  write_command "$out" "${vm_environment[@]}" "$@"
  # oops=panic and panic=-1: a kernel in trouble ends the machine at once, and that is a failure.
  boot "$out" "$seconds" -cpu max -m 2048 -smp 2 -kernel "$home/root/boot/vmlinuz-$release" -initrd "$out/initramfs" \
    -append "console=ttyS0 quiet panic=-1 oops=panic vg.modules=$home/root/lib/modules vg.out=$out"
}

# What is run, and how long one kernel may take (seconds). What the quick ones leave out is each single lie, and the guard's life.
quick_tests=(test/golden test/contract test/lab/kernel.test.ts test/lab/differential.test.ts)
kernel_tests=("${quick_tests[@]}" test/lab/policy-differential.test.ts test/lab/guard.test.ts test/lab/policy.test.ts)
kernel_seconds=${VIFGUARD_KERNEL_SECONDS:-5400}
