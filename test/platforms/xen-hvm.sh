# Sourced by xen-dom0.sh: HVM domains, whose NIC has two cards. h1 keeps its emulated card beside Xen's driver, h2 unplugs it as Linux does by default and reboots.
modprobe tun
hvm() { # NAME MAC WORDS [VIF…]
  cat >"/run/$1.cfg" <<CFG
name = "$1"
type = "hvm"
kernel = "$VIFGUARD_HVM_KERNEL"
ramdisk = "$VIFGUARD_HVM_INITRD"
memory = 160
vcpus = 1
extra = "console=ttyS0 panic=-1 quiet $3"
serial = "file:/var/log/xen/$1.serial"
vnc = 0
vga = "none"
usb = 0
on_poweroff = "destroy"
on_crash = "destroy"
on_reboot = "restart"
vif = [ 'mac=$2,bridge=br0,model=e1000,script=$PWD/hooks/vif-vifguard$4' ]
CFG
}
hvm h1 fe:00:cb:00:71:0c "two-cards xen_emul_unplug=unnecessary" ""
hvm h2 fe:00:cb:00:71:0d "again" ""
serial() { tr -d '\r' <"/var/log/xen/$1.serial" 2>/dev/null; }
heard() { for try in $(seq 900); do serial "$1" | grep -q "GUEST: $2" && break; sleep 0.2; done; }
# Without the numbers of domains, which grow.
pairs() { $VIFGUARD status >/run/status && awk '/^vif[0-9.]+(-emu)? / { sub(/^vif[0-9.]+/, "vif"); print $3, $1, $2 }' /run/status | sort; }
seen() { for try in $(seq 100); do pairs | grep -qx "$1" && break; sleep 0.5; done; }

step hvm create
xl create /run/h1.cfg; echo "status $?"
step hvm ports
pairs
cat /run/status
heard h1 "emulated lie"
step hvm emulated
pairs
seen "h1 vif applied"
heard h1 "one speaks"
step hvm driver
pairs
heard h1 done
seen "h1 vif-emu applied"
step hvm again
pairs
xl create /run/h2.cfg; echo "status $?"
heard h2 done
step hvm unplugged
seen "h2 vif-emu applied"
step hvm rebooted
pairs
step hvm console h1
serial h1
step hvm console h2
serial h2
step hvm crash
xl destroy h1; echo "status $?"
xl destroy h2; echo "status $?"
settled 0
step hvm after
ports
ls /sys/class/net | grep vif
step hvm name
hvm h1 fe:00:cb:00:71:0c "" ",vifname=vif-frontends1"
xl create /run/h1.cfg 2>&1; echo "status $?"
ls /sys/class/net | grep vif
