#!/bin/sh
# Makes the first boot short: what a small cloud machine does not need is not run.
set -eu
echo "phase: tune"

# The name that the machine has until it is told another.
echo localhost > /etc/hostname
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > /etc/hosts

# cloud-init's modules, less those that configure what this image has no use for (locales, byobu, snap,
# landscape, puppet, chef, ...). Which disk GRUB is on, its package has to be told. Raspberry Pi OS has
# modules of its own, for what its Imager asks: all of them stay.
grub=""
if dpkg-query --show --showformat '${db:Status-Status}' grub-pc 2> /dev/null | grep -qx installed; then
    grub=" grub-dpkg,"
fi
[ ! -d /etc/cloud/cloud.cfg.d ] || [ -e /etc/rpi-issue ] || cat > /etc/cloud/cloud.cfg.d/20-microblog.cfg <<END
ssh_genkeytypes: [ed25519]
cloud_init_modules:
  [seed_random, bootcmd, write-files, growpart, resizefs, disk_setup, mounts, set_hostname,
   update_hostname, update_etc_hosts, ca-certs, users-groups, ssh]
cloud_config_modules: [$grub ssh-import-id, set-passwords, ntp, timezone, runcmd]
cloud_final_modules: [package-update-upgrade-install, scripts-vendor, scripts-per-once, scripts-per-boot,
   scripts-per-instance, scripts-user, phone-home, final-message, power-state-change]
END
# The site first: on a machine of one CPU or two, the others would take half of its first minute.
# Where there is no nginx, gunicorn itself has the web's port.
answers="[ -S /run/microblog/socket/gunicorn.sock ]"
[ -x /usr/sbin/nginx ] || answers="(exec 3<> /dev/tcp/127.0.0.1/80) 2> /dev/null"
cat > /etc/systemd/system/site-first.service <<END
[Unit]
Description=Wait until the site answers, or a minute
After=supervisor.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-/usr/bin/timeout 60 /bin/bash -c 'until $answers; do sleep 1; done'

[Install]
WantedBy=multi-user.target
END
systemctl enable --quiet site-first.service
for unit in cloud-config cloud-final postfix@- snapd unattended-upgrades; do
    [ -e "/usr/lib/systemd/system/$unit.service" ] || [ -e "/lib/systemd/system/$unit.service" ] || continue
    mkdir -p "/etc/systemd/system/$unit.service.d"
    printf '[Unit]\nAfter=site-first.service\n' > "/etc/systemd/system/$unit.service.d/microblog.conf"
done
# A slow machine's postfix takes longer to start than the minute and a half that it is given.
if [ -d /etc/systemd/system/postfix@-.service.d ]; then
    printf '\n[Service]\nTimeoutStartSec=10min\n' >> /etc/systemd/system/postfix@-.service.d/microblog.conf
fi
# Checks LVM snapshots, which there are none of.
systemctl disable --quiet e2scrub_reap.service e2scrub_all.timer 2> /dev/null || true
