#!/bin/sh
# pre-mount hook: only a root that was checked is made ready.
if [ "$(getarg root=)" = muster ]; then
    if [ -e /run/muster/done ]; then
        . /lib/muster-fetch.sh
        muster_layers || die "muster: the root cannot be mounted"
    else
        die "muster: the root is not what it should be; this machine does not boot it"
    fi
fi
