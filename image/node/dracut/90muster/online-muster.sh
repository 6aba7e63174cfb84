#!/bin/sh
# initqueue/online hook: fetches and checks the root, once.
[ "$(getarg root=)" = muster ] && [ ! -e /run/muster/done ] && [ ! -e /run/muster/refused ] && (
    . /lib/muster-fetch.sh
    if muster_root; then : >/run/muster/done; else : >/run/muster/refused; fi
)
