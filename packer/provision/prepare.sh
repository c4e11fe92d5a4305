#!/bin/sh
# Makes the machine under construction quiet: no service of ours starts, nothing
# is written for safety's sake that a rerun of the bake replaces anyway.
set -eu
echo "phase: prepare"

# No service starts (invoke-rc.d(8)), so no secret and no data are made.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d

# Whether this system has been a machine: one that is only unpacked may say "uninitialized", which
# its first boot goes by (machine-id(5)).
cp /etc/machine-id /run/machine-id.base 2> /dev/null || : > /run/machine-id.base

# In /run, gone with the power: the journal stays in memory, and no timer
# takes apt's lock.
mkdir -p /run/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\n' > /run/systemd/journald.conf.d/bake.conf
systemctl restart systemd-journald
timers="apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer man-db.timer"
# shellcheck disable=SC2086 # a list of names
systemctl --runtime mask --quiet --now $timers apt-daily.service apt-daily-upgrade.service \
    unattended-upgrades.service 2> /dev/null || true

# The image is thrown away when the bake breaks: syncing every file only costs time.
echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/bake
# Manual pages are indexed by the machine's own timer, not under emulation.
if [ -e /var/lib/man-db/auto-update ]; then
    mv /var/lib/man-db/auto-update /run/man-db-auto-update
fi
# The base's initramfs fits the base's kernel; a new kernel makes its own all the same.
if [ -e /etc/initramfs-tools/update-initramfs.conf ]; then
    cp -a /etc/initramfs-tools/update-initramfs.conf /run/update-initramfs.conf
    sed -i 's/^update_initramfs=.*/update_initramfs=no/' /etc/initramfs-tools/update-initramfs.conf
fi
# Python's byte code is compiled once, at the end, and not package by package: until then it is
# only noted which packages ask for it (py3compile -p PACKAGE).
if [ -e /usr/bin/py3compile ]; then
    dpkg-divert --quiet --local --rename --divert /usr/bin/py3compile.bake --add /usr/bin/py3compile
    # shellcheck disable=SC2016 # expanded when it is called
    printf '#!/bin/sh\necho "$2" >> /run/py3compile\n' > /usr/bin/py3compile
    chmod 755 /usr/bin/py3compile
fi
# ssl-cert makes a key where there is none, and clean.sh would remove it.
mkdir -p /etc/ssl/private
touch /etc/ssl/certs/ssl-cert-snakeoil.pem /etc/ssl/private/ssl-cert-snakeoil.key
