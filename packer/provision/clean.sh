#!/bin/sh
# Undoes what the bake needed and removes all that belongs to this one run of the machine.
set -eu
echo "phase: clean"

dpkg-query --show --showformat \
    '${Package}\t${Version}\t${Architecture}\t${Installed-Size}\t${source:Package}\t${source:Version}\n' > /run/packages

# What prepare.sh did.
rm -f /usr/sbin/policy-rc.d /etc/dpkg/dpkg.cfg.d/bake
if [ -e /run/man-db-auto-update ]; then
    mv /run/man-db-auto-update /var/lib/man-db/auto-update
fi
if [ -e /run/update-initramfs.conf ]; then
    cp -a /run/update-initramfs.conf /etc/initramfs-tools/update-initramfs.conf
fi

# Ubuntu's GRUB notes that a boot began; what notes that it succeeded does not run in a bake.
if [ -e /boot/grub/grubenv ]; then
    grub-editenv /boot/grub/grubenv unset recordfail
fi

# apt's lists and caches.
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old

# What cloud-init wrote for this run: its state, the network, the build's key. On a cloud's own server
# that is in the home of the user that Packer works as.
if command -v cloud-init > /dev/null; then
    cloud-init clean --logs --seed
fi
rm -rf /root/.ssh /home/*/.ssh /root/.cache /etc/ssh/ssh_host_* /etc/ssh/sshd_config.d/50-cloud-init.conf \
    /etc/sudoers.d/90-cloud-init-users /etc/netplan/50-cloud-init.yaml \
    /etc/systemd/network/10-cloud-init-*.network /etc/udev/rules.d/70-persistent-net.rules

# Keys, identities and seeds that packages make for one machine. MySQL makes its keys anew where there
# is none of them.
rm -f /var/lib/mysql/auto.cnf /var/lib/mysql/*.pem /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem \
    /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/systemd/credential.secret \
    /var/lib/postfix/prng_exch
if grep -qx '[0-9a-f]\{32\}' /run/machine-id.base; then
    : > /etc/machine-id
else
    cp /run/machine-id.base /etc/machine-id
fi

# Logs: the files go, the directories that packages made stay.
rm -rf /var/log/journal
find /var/log -type f -delete
find /tmp /var/tmp -mindepth 1 -delete

# What this bake wrote has the time of the package's making: two bakes of it differ in nothing but what
# the file systems keep for themselves.
made=/usr/share/doc/microblog/copyright
[ -e "$made" ] || made=/usr/share/doc/base-files/copyright
for place in / /boot/firmware; do
    [ ! -d "$place" ] || find "$place" -xdev -newer /run/machine-id.base -exec touch --no-create --no-dereference \
        --reference="$made" {} +
done
