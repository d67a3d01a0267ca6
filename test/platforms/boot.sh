#!/bin/bash
# boot.sh FOLDER: this machine's files below an overlay and a real systemd as process 1 of its own namespaces, but for the network, which is the caller's.
# FOLDER/upper has what was written; a second boot from the same FOLDER finds it again. Nothing of the machine itself is touched. Called under
# `unshare --mount --propagation private --pid --fork --kill-child --cgroup --ipc --uts`.
set -e
folder=$1
root=$folder/root
mkdir -p "$folder/upper" "$folder/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" none "$root"
mount -t proc proc "$root/proc"
# Of settings only those of the network are this system's own.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
# Read-only: devices are not this system's, and udev knows it by that.
mount -t sysfs -o ro none "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup"
for place in run dev tmp; do mount -t tmpfs -o mode=755 none "$root/$place"; done
chmod 1777 "$root/tmp"
for device in null zero full random urandom tty; do cp -a "/dev/$device" "$root/dev/"; done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/net"
mount -t tmpfs none "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 none "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
cp -a /dev/net/tun "$root/dev/net/tun"
# Containers with users of their own may mount these anew only where they are to be seen whole.
for place in proc sysfs; do
  mkdir -p "$root/run/whole/$place"
  mount -t "$place" none "$root/run/whole/$place"
done
# Clocks that look for updates would only disturb.
mkdir -p "$root/run/systemd/system"
ln -s /dev/null "$root/run/systemd/system/timers.target"
# basic.target and no further: services of this machine are not started a second time.
# Not chroot alone: in one no user namespace can be made, as containers want.
mkdir "$root/run/machine"
cd "$root"
pivot_root . run/machine
exec chroot . env -i container=vifguard PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  bash -c 'umount -l /run/machine && rmdir /run/machine && exec /lib/systemd/systemd --unit=basic.target --show-status=no'
