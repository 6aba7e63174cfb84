#!/bin/sh
# cmdline hook: a node that was given a grant needs the network to redeem it, wherever its root comes from.
if [ -e /etc/muster/boot.json ]; then
    echo "rd.neednet=1" >/etc/cmdline.d/91-muster-node.conf
    # Only if nobody said how.
    getarg ip= >/dev/null || echo "ip=dhcp" >>/etc/cmdline.d/91-muster-node.conf
fi
