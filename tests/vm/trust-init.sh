#!/bin/busybox sh
# /init of the initramfs that tests/vm/trust makes: an address, a new root, the hook that image/node has for dracut,
# and then a look at everything that the node holds. Lines of NODE tell what was found; NODE-END ends a boot.
b=/bin/busybox
if [ $$ != 1 ]; then exec $b sh /tiny-init "$@"; fi      # called by udhcpc
node() { echo "NODE $*"; }
fail() { echo "NODE-FAIL $*"; $b poweroff -f; }
$b --install -s /bin; export PATH=/bin:/sbin:/usr/sbin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
exec >/dev/console 2>&1 </dev/console
for m in /modules/*.ko; do insmod "$m" || fail "insmod $m"; done
ip link set lo up; ip link set eth0 up
udhcpc -q -n -f -t 15 -T 2 -i eth0 -s /etc/udhcpc -V muster-lab || fail dhcp

# The root, as an image would be mounted: its users are not those of the initramfs.
NEWROOT=/newroot
mkdir -p /run $NEWROOT; mount -t tmpfs run /run; mount -t tmpfs root $NEWROOT
mkdir -p $NEWROOT/etc/munge $NEWROOT/run $NEWROOT/var
ln -s ../run $NEWROOT/var/run
echo 'munge:x:991:988::/:' >$NEWROOT/etc/passwd; echo 'munge:x:988:' >$NEWROOT/etc/group

grant=/etc/muster/boot.json
if [ -e $grant ]; then
  node "grant $(stat -c '%a %u:%g' $grant)"
  nonce=$(sed 's/.*"nonce":"\([^"]*\)".*/\1/' $grant)
  mkdir -m 700 /spare; cp $grant /spare/boot.json
else
  node "grant none"
fi
[ -e /dev/tpmrm0 ] && node "tpm $(cat /sys/class/tpm/tpm0/tpm_version_major)" || node "tpm none"
export NEWROOT; sh /secrets-muster.sh
mount -o move /run $NEWROOT/run      # as switch_root does, for which dracut and initramfs-tools leave it

found() { # WHAT FILE
  [ -e "$2" ] && node "$1 $(stat -c '%a %u:%g %s' "$2") $(sha256sum "$2" | cut -d' ' -f1)" || node "$1 none"
}
found munge.key $NEWROOT/etc/munge/munge.key
found level1 $NEWROOT/etc/marker-1
found level2 $NEWROOT/etc/marker-2
found jwt $NEWROOT/var/run/cloud-init-jwt
found used-grant $grant
found state $NEWROOT/run/muster-node/state.json

# The marker and the nonce are nowhere else: in no other file of either root, in nothing that the kernel shows.
anywhere() { # WHAT TEXT EXCEPT
  for at in /proc/cmdline /proc/bootconfig /proc/1/environ /proc/self/environ; do
    grep -aqF -e "$2" $at 2>/dev/null && node "LEAK $1 $at"
  done
  dmesg | grep -aqF -e "$2" && node "LEAK $1 dmesg"
  find / -xdev -type f ! -path "$3" -exec grep -alF -e "$2" {} + 2>/dev/null | while read -r at; do node "LEAK $1 $at"; done
  for fs in $NEWROOT $NEWROOT/run /dev; do
    find $fs -xdev -type f ! -path "$3" -exec grep -alF -e "$2" {} + | while read -r at; do node "LEAK $1 $at"; done
  done
}
for n in 1 2; do
  [ -e $NEWROOT/etc/marker-$n ] && anywhere marker-$n "$(cat $NEWROOT/etc/marker-$n)" "$NEWROOT/etc/marker-$n"
done
[ -z "$nonce" ] || anywhere nonce "$nonce" /spare/boot.json
[ ! -e $NEWROOT/etc/marker-1 ] || node "searched $(find / -xdev -type f | wc -l)"

# Whoever kept the grant gets nothing for it any more, and whoever is root cannot undo the latch.
if [ -e /spare/boot.json ]; then
  if out=$(muster-node claim --grant /spare/boot.json --state /spare/state 2>&1); then node "second-claim ANSWERED"
  else node "second-claim refused: $out"; fi
fi
if [ -e /dev/tpmrm0 ]; then
  node "pcr15 $(cat /sys/class/tpm/tpm0/pcr-sha256/15 2>/dev/null)"
  node "pcr9 $(cat /sys/class/tpm/tpm0/pcr-sha256/9 2>/dev/null)"
fi
echo "NODE-END up=$(cut -d' ' -f1 /proc/uptime)"
poweroff -f
