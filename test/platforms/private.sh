#!/bin/bash
# private.sh FOLDER… -- COMMAND…: control groups (v1, as in Debian's containers without systemd) and the named folders are this mount namespace's own;
# what was in a folder is copied there, unless it is of /run. Called under `unshare --mount`.
set -e
mount -t tmpfs none /sys/fs/cgroup
for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
  mkdir "/sys/fs/cgroup/$controller"
  mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
done
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
copy=$(mktemp -d)
while [ "$1" != -- ]; do
  mkdir -p "$1" "$copy/kept"
  case $1 in /run/*) ;; *) cp -a "$1/." "$copy/kept" ;; esac
  mount -t tmpfs -o mode=755 none "$1"
  cp -a "$copy/kept/." "$1"
  rm -rf "$copy/kept"
  shift
done
rmdir "$copy"
shift
exec "$@"
