#!/bin/bash
# Becomes the first process of a machine for tests: systemd, over a file system that is this one's until it is written to.
# In new namespaces of mounts, network, processes, names and control groups, as root:  boot.sh NAME EMPTY_DIRECTORY
set -eu
name=$1 state=$2
mount --make-rprivate /
# Not on the disk: what is above a file system must not be in it.
mount -t tmpfs tmpfs "$state"
mkdir "$state/above" "$state/work" "$state/root"
mount -t overlay -o "lowerdir=/,upperdir=$state/above,workdir=$state/work" overlay "$state/root"
cd "$state/root"
unified=$(stat -f -c %T /sys/fs/cgroup)
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
if [ "$unified" = cgroup2fs ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs tmpfs sys/fs/cgroup
  mkdir sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd,xattr cgroup sys/fs/cgroup/systemd
fi
# Nothing of this machine's own services, names and mounts.
rm -rf etc/systemd/system etc/init.d etc/fstab var/lib/backplane var/lib/backplane-agent etc/backplane
mkdir etc/systemd/system
: > etc/machine-id
echo "$name" > etc/hostname
hostname "$name"
# A machine of processes only: no hardware, no clock, no terminals, and nothing that others have enabled.
for unit in \
  systemd-{udevd,udev-trigger,logind,networkd,resolved,timesyncd,binfmt,modules-load,sysctl,firstboot,remount-fs}.service \
  systemd-udevd-{control,kernel}.socket dbus.{service,socket} getty.target remote-fs.target \
  dev-{hugepages,mqueue}.mount sys-kernel-{debug,tracing,config}.mount sys-fs-fuse-connections.mount \
  proc-sys-fs-binfmt_misc.automount; do
  ln -s /dev/null "etc/systemd/system/$unit"
done
mkdir -p before
pivot_root . before
umount -l before
exec env -i container=test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  "$(command -v /lib/systemd/systemd || command -v /usr/lib/systemd/systemd)" \
  --system --unit=multi-user.target --log-target=console --log-level=warning --show-status=no
