#!/bin/sh
# Makes a fresh root directory into an SD card's for a Raspberry Pi: run by
# mmdebstrap as a customize hook, with the root directory as its argument.
set -eu
root=$1

# What quiet.sh put off.
restore() {
    rm "$root$1"
    chroot "$root" dpkg-divert --quiet --local --rename --remove "$1"
}
restore /usr/bin/py3compile
restore /usr/sbin/update-initramfs
restore /usr/sbin/update-ca-certificates
rm "$root/etc/dpkg/dpkg.cfg.d/bake" "$root/usr/sbin/policy-rc.d"
chroot "$root" update-ca-certificates
# Errors are in files for other Python versions than this one.
packages=$(sort -u "$root/var/lib/py3compile.bake")
rm "$root/var/lib/py3compile.bake"
# shellcheck disable=SC2086 # names of packages
chroot "$root" dpkg --listfiles $packages | grep '/dist-packages/.*\.py$' > "$root/tmp/modules"
chroot "$root" python3 -m compileall -q -j 0 -i /tmp/modules > /dev/null || true
rm "$root/tmp/modules"

# How the Pi's firmware starts the kernel: the package writes config.txt and cmdline.txt from this,
# now and at each upgrade. No memory is set aside for a screen: on a Pi 4 it would not boot with it.
cat > "$root/etc/default/raspi-firmware" <<-'END'
	CMA=0
	ROOTPART="PARTUUID=6d696372-02"
	CONSOLES="ttyS1,115200 tty0"
END
cat > "$root/etc/fstab" <<-'END'
	PARTUUID=6d696372-02 / ext4 defaults,noatime,errors=remount-ro 0 1
	PARTUUID=6d696372-01 /boot/firmware vfat defaults,noatime,flush,fmask=0177,dmask=0077 0 2
END
# A root that is mounted for writing at once is checked before, by the initramfs. Which of the checkers
# that needs it asks of the root's device, which is not here.
echo 'FSTYPE=ext4' > "$root/etc/initramfs-tools/conf.d/fstype"
chroot "$root" update-initramfs -c -k all

# Its own programs in the place of the build machine's.
chroot "$root" dpkg-divert --list '*.bake' | sed 's/^local diversion of \(.*\) to .*/\1/' > "$root/run/diverted"
while read -r program; do
    restore "$program"
done < "$root/run/diverted"
rm "$root/run/diverted"
if [ -L "$root/lib64" ]; then
    rm -r "${root:?}/lib64" "$root/usr/lib64" "$root/usr/lib/$(dpkg-architecture -qDEB_BUILD_MULTIARCH)"
fi

# The network comes from cloud-init, by netplan, through systemd-networkd.
chroot "$root" systemctl enable systemd-networkd systemd-resolved
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
echo microblog > "$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > "$root/etc/hosts"

# cloud-init reads user-data, meta-data and network-config from the boot partition, and asks no
# network for them: there is no wait for one that is not there.
cat > "$root/etc/cloud/cloud.cfg.d/10-base.cfg" <<-'END'
	datasource_list: [NoCloud, None]
	datasource:
	  NoCloud:
	    seedfrom: file:///boot/firmware/
	    fs_label: null
	ssh_genkeytypes: [ed25519]
	locale: C.UTF-8
	system_info:
	  default_user:
	    name: pi
	    gecos: Owner
	    lock_passwd: true
	    groups: [adm, sudo, systemd-journal]
	    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
	    shell: /bin/bash
	  network:
	    renderers: [netplan]
END
mkdir -p "$root/etc/systemd/system/cloud-init-local.service.d" "$root/etc/systemd/system/cloud-init-main.service.d"
for unit in local main; do
    printf '[Unit]\nRequiresMountsFor=/boot/firmware\n' \
        > "$root/etc/systemd/system/cloud-init-$unit.service.d/boot-partition.conf"
done
cat > "$root/boot/firmware/meta-data" <<-'END'
	instance-id: microblog
END
cat > "$root/boot/firmware/user-data" <<-'END'
	#cloud-config
	# For those who know cloud-init; for everybody else there is microblog.txt.
END
cat > "$root/boot/firmware/network-config" <<-'END'
	network:
	  version: 2
	  ethernets:
	    eth0:
	      dhcp4: true
	      optional: true
END

# Nothing that belongs to one machine, and nothing of this making of it.
rm -f "$root"/etc/ssh/ssh_host_*_key* "$root/var/lib/dbus/machine-id" "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap \
    "$root"/etc/apt/apt.conf.d/99mmdebstrap
: > "$root/etc/machine-id"
