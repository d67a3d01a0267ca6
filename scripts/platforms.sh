# Sourced by ./selftest-platforms, behind prepare.sh and kernels.sh: the real programs of each platform, and a guest for them to boot.

platform_names="deb npm nspawn podman qemu lxc libvirt xen"

# What is looked for, and the Debian package that brings it. Only here: ./selftest needs none of it.
tools_of() {
  case $1 in
    deb) echo "/lib/systemd/systemd:systemd man:man-db" ;;
    npm) ;;
    nspawn) echo "/lib/systemd/systemd:systemd systemd-nspawn:systemd-container dbus-daemon:dbus" ;;
    podman) echo "podman:podman crun:crun /usr/lib/cni/bridge:containernetworking-plugins" ;;
    qemu) echo "$vm_tools" ;;
    lxc) echo "lxc-start:lxc" ;;
    libvirt) echo "$vm_tools virsh:libvirt-clients libvirtd:libvirt-daemon /usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so:libvirt-daemon-driver-qemu" ;;
    xen) echo "$vm_tools xl:xen-utils-4.17 xenstore-read:xenstore-utils /usr/libexec/xen-qemu-system-i386:qemu-system-xen" ;;
  esac
}

# A guest that boots in seconds under QEMU's emulator: Debian's kernel, busybox, the modules of a virtio and of a Xen NIC.
make_guest() { pack_initramfs "$1" "$2" "$3" "virtio_pci virtio_net xen-netfront" scripts/guest-init scripts/guest-lease; }

# One for Xen's HVM domains, which have two cards.
make_hvm_guest() { pack_initramfs "$1" "$2" "$3" "e1000 xen-netfront" scripts/guest-init-hvm scripts/guest-lease; }

xen_cache=${VIFGUARD_XEN_CACHE:-/var/cache/vifguard-xen}

# The hypervisor alone, unpacked and not installed: nothing of it may find its way into this machine's boot loader.
fetch_xen() {
  [ ! -e "$xen_cache/xen" ] || return 0
  say "fetching Xen"
  rm -rf "$xen_cache"
  mkdir -p "$xen_cache/deb"
  (cd "$xen_cache/deb" && apt-get download -q xen-hypervisor-4.17-amd64) >"$xen_cache/log" 2>&1 || { tail -n 20 "$xen_cache/log" >&2; die "xen-hypervisor-4.17-amd64 could not be fetched" "its words are above"; }
  dpkg-deb -x "$xen_cache"/deb/*.deb "$xen_cache/root"
  gunzip -c "$xen_cache/root/boot/xen-4.17-amd64.gz" >"$xen_cache/draft"
  mv "$xen_cache/draft" "$xen_cache/xen"
}

# Unpacked, for the domains: libxl's own XZ now and then fails under QEMU's emulator.
unpack_kernel() {
  local offset
  offset=$(LC_ALL=C grep -abom 1 "$(printf '\3757zXZ')" "$1" | head -n 1 | cut -d: -f1)
  # What follows the payload is no XZ any more, and xz says so after it has written all of it.
  tail -c "+$((offset + 1))" "$1" | xz -dc >"$2" 2>/dev/null || true
  [ "$(head -c 4 "$2" | tail -c 3)" = ELF ] || die "'$1' could not be unpacked"
}

# As run_on of kernels.sh, but the kernel runs as dom-0 of a real Xen: run_dom0 OUT SECONDS COMMAND…
# QEMU must hide SMAP (Xen's builder of dom-0 dies of it under TCG) and RDTSCP (no nRIP for SVM).
run_dom0() {
  local out=$1 seconds=$2 home=$kernel_cache/6.1 release accel=tcg,thread=multi clock=()
  shift 2
  # On a slow machine time goes by what was computed: libxl ends a script after 40 s, and HVM domains start several.
  [ "${VIFGUARD_SLOW:-1}" = 1 ] || accel=tcg,thread=single clock=(-icount shift=1,sleep=off)
  release=$(cat "$home/release")
  make_initramfs "$home" "$release" "$out/initramfs"
  write_command "$out" "$@"
  boot "$out" "$seconds" -cpu max,-smap,-smep,-la57,-pku,-rdtscp,-xsave,-avx,-avx2,-fma,-f16c -m 1700 -smp 1 "${clock[@]}" \
    -kernel "$xen_cache/xen" -append "dom0_mem=1100M,max:1100M dom0_max_vcpus=1 console=com1 com1=115200,8n1 noreboot=no loglvl=warning guest_loglvl=warning" \
    -initrd "$home/root/boot/vmlinuz-$release console=hvc0 quiet panic=-1 oops=panic vg.modules=$home/root/lib/modules vg.out=$out,$out/initramfs"
}
