#!/bin/sh
# cmdline hook: takes root=muster, and sees to it that the network comes up.
# shellcheck disable=SC2034,SC2154 # root, rootok and hookdir are dracut's
if [ "${root:-}" = muster ] || [ "$(getarg root=)" = muster ]; then
    root=muster
    rootok=1
    echo "rd.neednet=1" >/etc/cmdline.d/90-muster.conf
    # Only if nobody said how.
    getarg ip= >/dev/null || echo "ip=dhcp" >>/etc/cmdline.d/90-muster.conf
    # The mount waits for the download.
    mkdir -p /run/muster
    echo '[ -e /run/muster/done ] || [ -e /run/muster/refused ]' >"$hookdir/initqueue/finished/90-muster.sh"
fi
