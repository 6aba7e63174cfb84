#!/bin/sh
# pre-pivot hook: the root is mounted and the network is up. Without a grant in the initrd nothing happens; what
# goes wrong is on the console, and the node boots without its secrets: the units that need them fail and say so.
[ -d /sys/kernel/security/tpm0 ] || mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
muster-node run --root "$NEWROOT" 2>&1 | while read -r line; do
    echo "$line"
    echo "<5>$line" >/dev/kmsg
done
