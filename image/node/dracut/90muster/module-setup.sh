#!/bin/bash
# dracut module: root=muster. Copy the folder to /usr/lib/dracut/modules.d/, and muster-fetch.sh into it.
# shellcheck disable=SC2154 # moddir and systemdutildir are dracut's

check() {
    require_binaries curl sha256sum || return 1
    return 255 # only if it is asked for: dracut --add muster
}

depends() {
    echo network base
}

installkernel() {
    instmods loop squashfs erofs overlay
}

install() {
    inst_multiple curl sha256sum od wc tr cut sed grep tail mount modprobe mkdir rm cat sleep
    # Manifests are checked where the image holds the site's key.
    if [ -f "${dracutsysrootdir-}/etc/muster/site.pub" ]; then
        inst_simple /etc/muster/site.pub
        inst_multiple openssl
    fi
    inst_simple "$moddir/muster-fetch.sh" /lib/muster-fetch.sh
    inst_hook cmdline 90 "$moddir/parse-muster.sh"
    inst_hook initqueue/online 90 "$moddir/online-muster.sh"
    inst_hook pre-mount 90 "$moddir/layers-muster.sh"
    inst_hook mount 90 "$moddir/mount-muster.sh"
    # systemd takes root=muster for a device unless it is told better.
    if dracut_module_included systemd-initrd; then
        inst_script "$moddir/muster-generator.sh" "$systemdutildir/system-generators/dracut-muster-generator"
    fi
}
