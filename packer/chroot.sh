#!/bin/sh
# Runs the provisioning scripts in a chroot on a disk image's root file system.
#
# Every mount is in a mount namespace, every process in a pid namespace, of its own: however this
# ends, killed outright included, the kernel takes both away, and the loop device with them. The build
# machine's name is nobody's business either.
set -eu

if [ "${1-}" != inside ]; then
    exec unshare --mount --uts --pid --fork --kill-child --propagation private sh "$0" inside
fi

hostname localhost
root=$(dirname "$OUTPUT")/root
mkdir "$root"
mount -t proc proc /proc
mount -o "loop,offset=$OFFSET,sizelimit=$SIZE,noatime" "$DISK" "$root"
mount --bind "$FIRMWARE" "$root/boot/firmware"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
# Devices that every program expects, and none of this machine's.
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs shm "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 run "$root/run"
mkdir "$root/run/pool" "$root/run/files" "$root/run/systemd" "$root/run/lock"
mount --bind -o ro "$POOL" "$root/run/pool"
mount --bind -o ro "$FILES" "$root/run/files"

for script in $SCRIPTS; do
    cat "$PROVISION/$script"
done > "$root/run/provision"
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    QEMU_CPU="$QEMU_CPU" PACKAGES="$PACKAGES" FILES=/run/files chroot "$root" /bin/sh -eu /run/provision < /dev/null || {
    [ -n "${KEEP_FAILED-}" ] || exit 1
    echo "phase: kept"
    sleep infinity
}

cp "$root/run/packages" "$OUTPUT.packages"
umount --recursive "$root"
