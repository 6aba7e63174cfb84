#!/bin/busybox sh
# /init of tiny.img, and the script that udhcpc calls. Says on the console what happened, in lines that a test can
# wait for, and powers off. Kernel command line:
#   muster.url=URL      fetch it and print its body: MUSTER-URL ... MUSTER-URL-END
#   muster.report=URL   GET URL?stage=up&ip=..&host=..&mac=.., so that the server sees the node come up
#   muster.live=URL     fetch a squashfs into RAM and switch to it, with a writable overlay
#   muster.keep         a shell on the console at the end instead of powering off
#   BOOTIF=01-aa-bb-..  the NIC to use; without it the first one
# MUSTER-FAIL says what went wrong; MUSTER-UP comes only when nothing did.
b=/bin/busybox
up() { $b cut -d' ' -f1 /proc/uptime; }

if [ $$ != 1 ]; then      # called by udhcpc
  [ "$1" = bound ] || exit 0
  $b ip addr flush dev "$interface"
  $b ip addr add "$ip/${mask:-24}" dev "$interface"
  [ -z "$router" ] || $b ip route add default via "${router%% *}"
  [ -z "$hostname" ] || $b hostname "$hostname"
  : >/etc/resolv.conf
  for d in $dns; do echo "nameserver $d" >>/etc/resolv.conf; done
  echo "ip=$ip host=$hostname" >/run/dhcp
  echo "MUSTER-DHCP ip=$ip/${mask:-24} host=$hostname server=$serverid lease=$lease dns=$dns router=$router" \
    "domain=$domain"
  exit 0
fi

fail() { echo "MUSTER-FAIL $* up=$(up)"; [ -n "$keep" ] || $b poweroff -f; exec $b setsid $b cttyhack $b sh; }
# Never `wget -T`: it crashes in busybox 1.35. Three tries, each with an end.
get() { for i in 1 2 3; do $b timeout "$3" $b wget -q -O "$2" "$1" && return; $b sleep 1; done; return 1; }

$b mount -t devtmpfs dev /dev; $b mount -t proc proc /proc; $b mount -t sysfs sys /sys
exec >/dev/console 2>&1 </dev/console
echo "MUSTER-INIT up=$(up)"
for m in /modules/*.ko; do $b insmod "$m" || echo "MUSTER-WARN insmod $m"; done
for a in $($b cat /proc/cmdline); do
  case $a in
    muster.url=*) url=${a#*=} ;; muster.report=*) report=${a#*=} ;; muster.live=*) live=${a#*=} ;;
    muster.keep) keep=1 ;; BOOTIF=*) bootif=$(echo "${a#BOOTIF=01-}" | $b tr 'A-F-' 'a-f:') ;;
  esac
done

$b ip link set lo up
nic= n=0
while [ -z "$nic" ] && [ $n -lt 300 ]; do
  for d in /sys/class/net/*; do
    [ "${d##*/}" != lo ] || continue
    [ -n "$bootif" ] && [ "$($b cat "$d/address")" != "$bootif" ] || nic=${nic:-${d##*/}}
  done
  n=$((n + 1)); [ -n "$nic" ] || $b usleep 100000
done
[ -n "$nic" ] || fail "nic: none with address ${bootif:-any}"
$b ip link set "$nic" up
$b udhcpc -q -n -f -t 15 -T 2 -i "$nic" -s /etc/udhcpc -V muster-lab || fail dhcp

if [ -n "$url" ]; then
  get "$url" /tmp/body 60 || fail "url $url"
  echo "MUSTER-URL $url bytes=$($b wc -c </tmp/body) sha256=$($b sha256sum /tmp/body | $b cut -d' ' -f1)"
  $b head -c 4000 /tmp/body; echo; echo MUSTER-URL-END
fi
if [ -n "$report" ]; then
  case $report in *\?*) sep='&' ;; *) sep='?' ;; esac
  . /run/dhcp
  mac=$($b cat "/sys/class/net/$nic/address")
  get "$report${sep}stage=up&ip=$ip&host=$host&mac=$mac" /dev/null 30 || fail "report $report"
fi
if [ -n "$live" ]; then
  $b mkdir -p /run/live /newroot
  $b mount -t tmpfs -o size=80% live /run/live
  cd /run/live; $b mkdir ro up work
  get "$live" rootfs 600 || fail "live $live"
  echo "MUSTER-LIVE bytes=$($b wc -c <rootfs) up=$(up)"
  $b mount -t squashfs -o ro,loop rootfs ro || fail squashfs
  $b mount -t overlay -o lowerdir=ro,upperdir=up,workdir=work overlay /newroot || fail overlay
  $b ip addr flush dev "$nic"; $b ip link set "$nic" down      # udev renames it, networkd starts clean
  for m in proc sys dev; do $b mount -o move "/$m" "/newroot/$m"; done
  exec $b switch_root -c /dev/console /newroot /sbin/init
fi
echo "MUSTER-UP up=$(up)"
[ -z "$keep" ] || exec $b setsid $b cttyhack $b sh
$b poweroff -f
