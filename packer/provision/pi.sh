#!/bin/sh
# What a Raspberry Pi at home needs: a small machine on a card, without screen and keyboard.
set -eu
echo "phase: pi"

# Found as microblog.local until it is given another name.
echo microblog > /etc/hostname
printf '127.0.1.1 microblog\n' >> /etc/hosts

# gunicorn answers visitors itself, on port 80, which needs no root then; on both kinds of
# addresses, each by a socket of its own. No secret is in this: the machine adds its own.
cat > /etc/sysctl.d/60-microblog.conf <<'END'
net.ipv4.ip_unprivileged_port_start = 80
net.ipv6.bindv6only = 1
END
# What the firewall turns away is for the journal, not for the screen with the greeting on it.
echo 'kernel.printk = 4 4 1 7' > /etc/sysctl.d/60-quiet.conf
cat > /etc/microblog/microblog.env <<'END'
# Settings of this Microblog server; restart it after a change:
#   supervisorctl restart microblog
BIND=127.0.0.1:8000,0.0.0.0:80,[::]:80
WEB_CONCURRENCY=2
END
chown root:microblog /etc/microblog/microblog.env
chmod 640 /etc/microblog/microblog.env

# microblog.txt: read before the network and the site are; the administrator's account is made when
# there is a database. (netplan's own generator ran before.)
microblog card template > /boot/firmware/microblog.txt
cat > /etc/systemd/system/microblog-card.service <<'END'
[Unit]
Description=Read microblog.txt from the card
DefaultDependencies=no
RequiresMountsFor=/boot/firmware
After=local-fs.target systemd-tmpfiles-setup.service
Before=cloud-init-main.service cloud-init-local.service network-pre.target sysinit.target
Before=systemd-networkd.service NetworkManager.service avahi-daemon.service
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/microblog card read

[Install]
WantedBy=sysinit.target
END
cat > /etc/systemd/system/microblog-admin.service <<'END'
[Unit]
Description=Make the account of the administrator
After=microblog-setup.service
ConditionPathExists=/etc/microblog/first-admin.json

[Service]
Type=oneshot
ExecStart=/usr/bin/microblog card admin

[Install]
WantedBy=multi-user.target
END
# What a first boot's generator could not know of: Wi-Fi from microblog.txt or from cloud-init.
cat > /etc/systemd/system/wifi.service <<'END'
[Unit]
Description=Connect to the Wi-Fi that this boot brought
After=cloud-init-network.service cloud-init.service systemd-networkd.service
ConditionPathExists=/run/netplan/wpa-wlan0.conf

[Service]
Type=oneshot
ExecStart=/usr/bin/systemctl daemon-reload
ExecStart=-/usr/bin/networkctl reload
ExecStart=/usr/bin/systemctl start --no-block netplan-wpa-wlan0.service

[Install]
WantedBy=multi-user.target
END
# A new kernel or initramfs is copied onto the card's first partition, and would stay in memory for half
# a minute: without power by then, the card would not start any more.
for hooks in /etc/kernel/postinst.d /etc/initramfs/post-update.d; do
    mkdir -p "$hooks"
    printf '#!/bin/sh\nexec sync --file-system /boot/firmware\n' > "$hooks/zz-sync-boot-firmware"
    chmod 755 "$hooks/zz-sync-boot-firmware"
done
mkdir -p /etc/ssh/authorized_keys.d
echo 'AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u' > /etc/ssh/sshd_config.d/20-microblog.conf

# The screen and SSH greet with the site's address and how it is.
cat > /etc/systemd/system/microblog-greeting.service <<'END'
[Unit]
Description=Show the site's address and state on the screen
After=site-first.service

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'mkdir -p /run/issue.d && microblog card greeting > /run/issue.d/microblog.issue && agetty --reload'
END
cat > /etc/systemd/system/microblog-greeting.timer <<'END'
[Unit]
Description=Keep the screen's words true

[Timer]
OnBootSec=5s
OnUnitActiveSec=2min

[Install]
WantedBy=timers.target
END
printf '#!/bin/sh\nexec microblog card greeting\n' > /etc/update-motd.d/20-microblog
chmod 755 /etc/update-motd.d/20-microblog
rm -f /etc/update-motd.d/10-uname /etc/motd

# A card wears out by writing: logs are kept in memory, the clock is saved every quarter of an hour.
mkdir -p /etc/systemd/journald.conf.d /etc/systemd/timesyncd.conf.d /etc/systemd/system.conf.d /etc/systemd/resolved.conf.d
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n' > /etc/systemd/journald.conf.d/microblog.conf
# There is no clock that runs without power: time goes on from where it was saved, until a time
# server is reached.
printf '[Time]\nSaveIntervalSec=15min\n' > /etc/systemd/timesyncd.conf.d/microblog.conf
# Should the system hang, the watchdog starts it again; the Pi's waits for 15 s at most.
printf '[Manager]\nRuntimeWatchdogSec=14s\nRebootWatchdogSec=2min\n' > /etc/systemd/system.conf.d/microblog.conf
# Names on the local network are avahi's.
printf '[Resolve]\nMulticastDNS=no\n' > /etc/systemd/resolved.conf.d/microblog.conf
# Raspberry Pi OS has a generator of its own before this one, whose file on the card is left out.
if [ -e /etc/rpi/swap.conf ]; then
    mkdir -p /etc/rpi/swap.conf.d
    printf '[Main]\nMechanism=zram\n' > /etc/rpi/swap.conf.d/microblog.conf
else
    cat > /etc/systemd/zram-generator.conf <<'END'
[zram0]
zram-size = ram / 2
compression-algorithm = zstd
END
fi
if [ -e /etc/dphys-swapfile ]; then
    systemctl disable --quiet dphys-swapfile.service
fi
cat > /etc/avahi/services/microblog.service <<'END'
<?xml version="1.0" standalone="no"?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group>
  <name replace-wildcards="yes">Microblog on %h</name>
  <service>
    <type>_http._tcp</type>
    <port>80</port>
  </service>
</service-group>
END
systemctl enable --quiet microblog-card.service microblog-admin.service wifi.service microblog-greeting.timer
# SSH is for those who have put a key on the card; Raspberry Pi OS has it off.
systemctl enable --quiet ssh.service
# A network that is not there is not waited for.
for unit in systemd-networkd-wait-online NetworkManager-wait-online; do
    if [ -e "/usr/lib/systemd/system/$unit.service" ]; then
        systemctl disable --quiet "$unit.service"
    fi
done
