#!/bin/sh
# Makes a fresh root directory into a cloud image's: run by mmdebstrap as a
# customize hook, with the root directory as its argument.
set -eu
root=$1

# GRUB, from the image's own packages: core images for BIOS and UEFI, which the
# builder puts into their partitions. Debian's signed GRUB reads its
# configuration from /EFI/debian on the EFI partition.
cat > "$root/boot/grub-early.cfg" <<-'END'
	search --no-floppy --label cloudimg-rootfs --set=root
	set prefix=($root)/boot/grub
END
mkdir -p "$root/boot/efi"
if [ -d "$root/usr/lib/grub/i386-pc" ]; then
    console=ttyS0 terminal='console serial'
    mkdir -p "$root/boot/grub/i386-pc"
    cp "$root"/usr/lib/grub/i386-pc/*.mod "$root"/usr/lib/grub/i386-pc/*.lst "$root/boot/grub/i386-pc/"
    cp "$root/usr/lib/grub/i386-pc/boot.img" "$root/boot/grub/i386-pc/"
    chroot "$root" grub-mkimage --format i386-pc --output /boot/grub/i386-pc/core.img \
        --config /boot/grub-early.cfg --prefix /boot/grub \
        biosdisk part_gpt ext2 search search_label normal configfile
else
    # 64-bit ARM has no BIOS, and its firmware's console is the serial one.
    console=ttyAMA0 terminal=console
    mkdir -p "$root/boot/grub"
fi
rm "$root/boot/grub-early.cfg"

# A menu that needs no probing of the build machine; the first kernel upgrade
# replaces it with update-grub's.
serial='serial --unit=0 --speed=115200'
[ "$terminal" != console ] || serial=
cat > "$root/boot/grub/grub.cfg" <<-END
	set timeout=0
	$serial
	terminal_output $terminal
	menuentry 'Debian GNU/Linux' {
	    search --no-floppy --label cloudimg-rootfs --set=root
	    linux /vmlinuz root=LABEL=cloudimg-rootfs ro console=tty0 console=$console
	    initrd /initrd.img
	}
END
mkdir -p "$root/etc/default/grub.d"
cat > "$root/etc/default/grub.d/50-cloudimg.cfg" <<-END
	GRUB_CMDLINE_LINUX_DEFAULT=""
	GRUB_CMDLINE_LINUX="console=tty0 console=$console"
	GRUB_TIMEOUT=0
	GRUB_TERMINAL="$terminal"
END
cat > "$root/etc/fstab" <<-'END'
	LABEL=cloudimg-rootfs / ext4 defaults,discard,errors=remount-ro 0 1
	LABEL=UEFI /boot/efi vfat umask=0077,nofail 0 1
END

# The network comes from cloud-init, through systemd-networkd.
chroot "$root" systemctl enable systemd-networkd systemd-resolved
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
echo localhost > "$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > "$root/etc/hosts"

# One strong host key instead of four: its making is most of a small machine's first boot. And the
# one locale that every system has.
cat > "$root/etc/cloud/cloud.cfg.d/10-base.cfg" <<-'END'
	ssh_genkeytypes: [ed25519]
	locale: C.UTF-8
END

# While it is only a base, it boots for SSH alone: no server in it starts, and so none makes
# itself data, keys or an identity. The bake takes this away (clean.sh).
cat > "$root/etc/systemd/system/bake.target" <<-'END'
	[Unit]
	Description=A base image, waiting to be baked
	Requires=basic.target
	After=basic.target
	AllowIsolate=yes
	Wants=systemd-networkd.service cloud-init.target ssh.service
END
ln -s bake.target "$root/etc/systemd/system/default.target"

# Nothing that belongs to one machine, and nothing of this making of it.
rm -f "$root"/etc/ssh/ssh_host_*_key* "$root/var/lib/dbus/machine-id" "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap \
    "$root"/etc/apt/apt.conf.d/99mmdebstrap
: > "$root/etc/machine-id"
