#!/bin/sh
# systemd generator: the unit that mounts the root, before systemd-fstab-generator makes one for a device "muster".
case " $(cat /proc/cmdline) " in *" root=muster "*) ;; *) exit 0 ;; esac
parts=/run/muster/parts
cat >"$2/sysroot.mount" <<U
[Unit]
Before=initrd-root-fs.target
After=dracut-pre-mount.service
[Mount]
Where=/sysroot
What=muster
Type=overlay
Options=lowerdir=$parts/lower,upperdir=$parts/rw/upper,workdir=$parts/rw/work
U
