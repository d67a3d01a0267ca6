#!/bin/bash
# xen-dom0.sh: run as root in a dom-0 whose root is this machine's by 9p: a gateway, an agent, two PV domains with vif-vifguard; every step is told on
# the console as "STEP name", and xen.test.ts reads what stands behind each.
step() { printf 'STEP %s\n' "$*"; }
bin=/usr/lib/xen-4.17/bin
for module in xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xen-netback xenfs bridge veth; do modprobe "$module"; done
mount -t xenfs xenfs /proc/xen
for folder in /var/lib/xenstored /var/log/xen /etc/default; do mkdir -p "$folder" && mount -t tmpfs none "$folder"; done
mkdir -p /run/xenstored /run/xen /var/log/xen/console
$bin/oxenstored --pid-file=/run/xenstored.pid
for try in $(seq 100); do xenstore-read -s / >/dev/null 2>&1 && break; sleep 0.1; done
$bin/xen-init-dom0 >/dev/null
$bin/xenconsoled --pid-file=/run/xenconsoled.pid --log=guest --log-dir=/var/log/xen/console

ip netns add gateway
ip link add br0 type bridge
ip link add up0 type veth peer name eth0 netns gateway
ip link set up0 master br0 up
ip link set br0 up
ip -n gateway address add 203.0.113.1/24 dev eth0
ip -n gateway link set eth0 up

export VIFGUARD="$(command -v node) $PWD/dist/main.js" VIFGUARD_SOCKET=/run/vifguard/agent.sock
cat >/run/site.yaml <<'SITE'
kind: network
name: lan0
spec:
  prefix4: 203.0.113.0/24
  gateway4: 203.0.113.1
  groups: [open]
  wiring: { kind: bridged, bridge: br0, uplink: up0 }
  addressing: { kind: managed, macScheme: ip }
---
kind: group
name: open
spec: { ingress: [{ protocol: any, from: any }] }
---
kind: guest
name: u1
spec: { nics: [{ network: lan0, address4: 203.0.113.10 }] }
---
kind: guest
name: u2
spec: { nics: [{ network: lan0, address4: 203.0.113.11 }] }
---
kind: guest
name: h1
spec: { nics: [{ network: lan0, address4: 203.0.113.12 }] }
---
kind: guest
name: h2
spec: { nics: [{ network: lan0, address4: 203.0.113.13 }] }
SITE
# Node takes seconds to start here, an agent half a minute on a busy machine.
agent() {
  $VIFGUARD agent --state-dir /run/state --log-level warn >/run/agent.log 2>&1 &
  agent=$!
  for try in $(seq 400); do [ -S $VIFGUARD_SOCKET ] && break; sleep 0.5; done
}
agent
$VIFGUARD apply -f /run/site.yaml

domain() { # NAME MAC WORDS
  cat >"/run/$1.cfg" <<CFG
name = "$1"
type = "pv"
kernel = "$VIFGUARD_GUEST_KERNEL"
ramdisk = "$VIFGUARD_GUEST_INITRD"
memory = 160
vcpus = 1
extra = "console=hvc0 panic=-1 quiet $3"
on_poweroff = "destroy"
on_crash = "destroy"
on_reboot = "destroy"
vif = [ 'mac=$2,bridge=br0,script=$PWD/hooks/vif-vifguard' ]
CFG
}
domain u1 fe:00:cb:00:71:0a stay
# Long enough to be seen by a dom-0 that takes its time.
domain u2 fe:00:cb:00:71:0b linger
told() { for try in $(seq 600); do grep -q "GUEST: done" "/var/log/xen/console/guest-$1.log" 2>/dev/null && break; sleep 0.2; done; }
over() { for try in $(seq 600); do xl list "$1" >/dev/null 2>&1 || break; sleep 0.2; done; }
ports() { $VIFGUARD status >/run/status && awk '/^vif[0-9.]+ / { print $2, $3 }' /run/status; }
# What vanished is forgotten at the agent's next event.
settled() { for try in $(seq 5); do [ "$(ports | wc -l)" = "$1" ] && break; sleep 0.5; done; }

step create u1
xl create /run/u1.cfg; echo "status $?"
step create u2
xl create /run/u2.cfg; echo "status $?"
step ports
ports
step status
cat /run/status
told u1
told u2
step console u1
cat /var/log/xen/console/guest-u1.log
step console u2
cat /var/log/xen/console/guest-u2.log
step reached
ip netns exec gateway ping -c 2 -W 3 203.0.113.10 >/dev/null; echo "status $?"
over u2
settled 1
step after poweroff
ports
step destroy
xl destroy u1; echo "status $?"
settled 0
step after destroy
ports
ls /sys/class/net | grep vif
step wrong mac
domain u3 fe:00:cb:00:71:0a ""
sed -i 's/^name = "u3"/name = "u2"/' /run/u3.cfg
xl create /run/u3.cfg 2>&1; echo "status $?"
. test/platforms/xen-hvm.sh
step no agent
kill $agent
wait $agent
xl create /run/u1.cfg 2>&1; echo "status $?"
ls /sys/class/net | grep vif
step log
cat /run/agent.log
step end
