#!/bin/sh
# Undoes what the bake needed and removes all that belongs to this one run of the machine.
set -eu
echo "phase: clean"

dpkg-query --show --showformat '${Package}\t${Version}\t${Architecture}\t${Installed-Size}\n' > /run/packages

# What prepare.sh did.
rm -f /usr/sbin/policy-rc.d /etc/dpkg/dpkg.cfg.d/bake
if [ -e /run/man-db-auto-update ]; then
    mv /run/man-db-auto-update /var/lib/man-db/auto-update
fi
if [ -e /run/70debconf ]; then
    mv /run/70debconf /etc/apt/apt.conf.d/70debconf
fi
if [ -e /run/update-initramfs.conf ]; then
    cp -a /run/update-initramfs.conf /etc/initramfs-tools/update-initramfs.conf
fi

# What made the base boot for the bake alone.
rm -f /etc/systemd/system/bake.target
if [ "$(readlink /etc/systemd/system/default.target)" = bake.target ]; then
    rm /etc/systemd/system/default.target
fi

# apt's lists and caches.
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old

# What cloud-init wrote for this run: its state, the network, the build's key.
cloud-init clean --logs --seed
rm -rf /root/.ssh /root/.cache /etc/ssh/ssh_host_* /etc/ssh/sshd_config.d/50-cloud-init.conf \
    /etc/sudoers.d/90-cloud-init-users /etc/netplan/50-cloud-init.yaml \
    /etc/systemd/network/10-cloud-init-*.network /etc/udev/rules.d/70-persistent-net.rules
echo localhost > /etc/hostname
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > /etc/hosts

# Keys, identities and seeds that packages make for one machine.
rm -f /var/lib/mysql/auto.cnf /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem \
    /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/systemd/credential.secret \
    /var/lib/postfix/prng_exch
: > /etc/machine-id

# Logs: the files go, the directories that packages made stay.
rm -rf /var/log/journal
find /var/log -type f -delete
find /tmp /var/tmp -mindepth 1 -delete
