#!/bin/sh
# What a Raspberry Pi at home needs: a small machine on a card, without screen and keyboard.
set -eu
echo "phase: pi"

# packer/files/pi: each file there says what it is for.
sh "$FILES/lay" pi
# Nobody certifies a name that ends with .local: visitors come by plain HTTP. No secret is in this: the
# machine adds its own.
chown root:microblog /etc/microblog/microblog.env
chmod 640 /etc/microblog/microblog.env

# Found as microblog.local until it is given another name.
printf '127.0.1.1 microblog\n' >> /etc/hosts
microblog card template > /boot/firmware/microblog.txt
rm -f /etc/update-motd.d/10-uname /etc/motd
# What microblog-greeting.service writes comes onto the screen by this: where there is an /etc/issue, agetty
# does not look in /run (agetty(8)).
mkdir -p /etc/issue.d
ln -s /run/issue.d/microblog.issue /etc/issue.d/microblog.issue
# A card wears out by writing: nginx's logs are kept in memory, too.
echo 'logs /var/log/nginx tmpfs size=8m,mode=755,nosuid,nodev,noexec,nofail 0 0' >> /etc/fstab

# Raspberry Pi OS has a generator of its own before Debian's, whose file on the card is left out.
if [ -e /etc/rpi/swap.conf ]; then
    rm /etc/systemd/zram-generator.conf
else
    rm /etc/rpi/swap.conf.d/microblog.conf
    rmdir -p --ignore-fail-on-non-empty /etc/rpi/swap.conf.d
fi
if [ -e /etc/dphys-swapfile ]; then
    systemctl disable --quiet dphys-swapfile.service
fi
systemctl enable --quiet microblog-card.service microblog-admin.service wifi.service microblog-greeting.timer
# SSH is for those who have put a key on the card; Raspberry Pi OS has it off.
systemctl enable --quiet ssh.service
# A network that is not there is not waited for.
for unit in systemd-networkd-wait-online NetworkManager-wait-online; do
    if [ -e "/usr/lib/systemd/system/$unit.service" ]; then
        systemctl disable --quiet "$unit.service"
    fi
done
