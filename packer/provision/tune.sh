#!/bin/sh
# Makes the first boot short: what a small cloud machine does not need is not run.
set -eu
echo "phase: tune"

# The name that the machine has until it is told another.
echo localhost > /etc/hostname
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > /etc/hosts

# packer/files/tune: each file there says what it is for.
cloud_init=
[ ! -d /etc/cloud/cloud.cfg.d ] || cloud_init=yes
sh "$FILES/lay" tune
if [ "$cloud_init" ]; then
    systemctl enable --quiet user-data-check.service
    # Which disk GRUB is on, its package has to be told.
    if dpkg-query --show --showformat '${db:Status-Status}' grub-pc 2> /dev/null | grep -qx installed; then
        sed -i 's/^grub_dpkg: .*/grub_dpkg: {enabled: true}/' /etc/cloud/cloud.cfg.d/20-microblog.cfg
    fi
    # Raspberry Pi OS has settings of its own, for what its Imager asks.
    [ ! -e /etc/rpi-issue ] || rm /etc/cloud/cloud.cfg.d/20-microblog.cfg
else
    rm -r /etc/cloud /usr/local/sbin/user-data-check /etc/systemd/system/user-data-check.service
fi
systemctl enable --quiet site-first.service
# Checks LVM snapshots, which there are none of.
systemctl disable --quiet e2scrub_reap.service e2scrub_all.timer 2> /dev/null || true
