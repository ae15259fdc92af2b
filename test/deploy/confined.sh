#!/bin/bash
# Runs a command as a container that sees its node's processes would: over a root of its own that is read only, with the
# node's tracefs, a view of control groups of its own, and of all capabilities only those named. In new namespaces of
# mounts and control groups, as root, in the project's folder:  confined.sh EMPTY_DIRECTORY +NAME,+NAME SHARED_DIRECTORY COMMAND...
set -eu
root=$1 capabilities=$2 shared=$3 project=$PWD
shift 3
mount --make-rprivate /
mount --bind / "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --bind /sys/kernel/tracing "$root/sys/kernel/tracing"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root$project" "$root$shared" "$root/run/before"
mount --bind "$project" "$root$project"
mount --bind "$shared" "$root$shared"
cd "$root"
pivot_root . run/before
cd "$project"
umount -l /run/before
exec setpriv --inh-caps=-all --bounding-set="-all,$capabilities" -- "$@"
