#!/bin/sh
# mount hook: only a root that was checked is mounted.
if [ "$(getarg root=)" = muster ] && ! ismounted "$NEWROOT"; then
    if [ -e /run/muster/done ]; then
        . /lib/muster-fetch.sh
        muster_mount "$NEWROOT" || die "muster: the root cannot be mounted"
    else
        die "muster: the root is not what it should be; this machine does not boot it"
    fi
fi
