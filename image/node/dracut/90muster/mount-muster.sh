#!/bin/sh
# mount hook: where systemd has not done it, by the unit of muster-generator.sh.
if [ "$(getarg root=)" = muster ] && [ -e /run/muster/done ] && ! ismounted "$NEWROOT"; then
    . /lib/muster-fetch.sh
    muster_mount "$NEWROOT" || die "muster: the root cannot be mounted"
fi
