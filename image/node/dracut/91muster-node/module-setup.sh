#!/bin/bash
# dracut module: the node's secrets, before the root takes over. Copy the folder to /usr/lib/dracut/modules.d/ and
# muster-node to /usr/sbin/.
# shellcheck disable=SC2154 # moddir is dracut's

check() {
    require_binaries muster-node || return 1
    return 255 # only if it is asked for: dracut --add muster-node
}

depends() {
    echo network base
}

installkernel() {
    instmods "=drivers/char/tpm"
}

install() {
    inst_multiple muster-node mount modprobe
    inst_hook cmdline 91 "$moddir/network-muster-node.sh"
    inst_hook pre-pivot 20 "$moddir/secrets-muster.sh"
}
