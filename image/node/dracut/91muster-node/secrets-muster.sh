#!/bin/sh
# pre-pivot hook: the root is mounted and the network is up, and no user runs yet. Without a grant in the initrd
# nothing happens. What goes wrong is on the console, and the node boots without its secrets: the units that need
# them fail and say so. Everything goes through the kernel's log, which the journal keeps; with `quiet` the console
# shows errors alone.
muster_tell() {
    while IFS= read -r line; do echo "<$1>$line" >/dev/kmsg; done
}

if [ -e /etc/muster/boot.json ]; then
    # Where no systemd has done it: no line is dropped, the TPM is there, and what the firmware measured is readable.
    echo on >/proc/sys/kernel/printk_devkmsg
    [ -e /dev/tpmrm0 ] || modprobe -q -a tpm_tis tpm_crb
    [ -d /sys/kernel/security/tpm0 ] || mount -t securityfs securityfs /sys/kernel/security
fi 2>/dev/null
{ muster-node run --root "$NEWROOT" 2>&1 >&3 | muster_tell 3; } 3>&1 | muster_tell 5
