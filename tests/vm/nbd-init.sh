#!/bin/busybox sh
# /nbd-init of the initramfs that tests/vm/nbd makes: an address, the root image over NBD or whole over HTTP, a
# writable overlay, and on into the system. Kernel command line:
#   muster.nbd=HOST:PORT/NAME   the export that is the root, a squashfs
#   muster.live=URL             the same file, fetched whole into RAM before it is used
b=/bin/busybox
up() { $b cut -d' ' -f1 /proc/uptime; }
fail() { echo "MUSTER-FAIL $* up=$(up)"; $b poweroff -f; }
$b mount -t devtmpfs dev /dev; $b mount -t proc proc /proc; $b mount -t sysfs sys /sys
exec >/dev/console 2>&1 </dev/console
for m in /modules/*.ko; do $b insmod "$m" || fail "insmod $m"; done
for a in $($b cat /proc/cmdline); do
  case $a in muster.nbd=*) nbd=${a#*=} ;; muster.live=*) live=${a#*=} ;; esac
done
$b ip link set lo up; $b ip link set eth0 up
$b udhcpc -q -n -f -t 15 -T 2 -i eth0 -s /etc/udhcpc -V muster-lab || fail dhcp
$b mkdir -p /run/root /newroot
$b mount -t tmpfs -o size=80% root /run/root
cd /run/root; $b mkdir ro up work
echo "MUSTER-ROOT-BEGIN up=$(up)"
if [ -n "$nbd" ]; then
  # By netlink the kernel holds the connection itself, and nothing of this initramfs must go on.
  server=${nbd%%/*}
  nbd-client "${server%:*}" "${server#*:}" /dev/nbd0 -name "${nbd#*/}" -readonly || fail "nbd $nbd"
  $b mount -t squashfs -o ro /dev/nbd0 ro || fail squashfs
else
  $b wget -q -O rootfs "$live" || fail "live $live"
  $b mount -t squashfs -o ro,loop rootfs ro || fail squashfs
fi
echo "MUSTER-ROOT up=$(up)"
$b mount -t overlay -o lowerdir=ro,upperdir=up,workdir=work overlay /newroot || fail overlay
for m in proc sys dev; do $b mount -o move "/$m" "/newroot/$m"; done
exec $b switch_root -c /dev/console /newroot /sbin/init
