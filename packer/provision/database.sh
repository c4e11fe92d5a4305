#!/bin/sh
# A fleet's database. The package is there for what it does to a server; its site is not.
set -eu
echo "phase: database"

sh "$FILES/lay" database
systemctl enable --quiet mariadb.service fleet-health.service fleet-accounts.service fleet-backup.timer \
    fleet-rejoin.timer
systemctl mask --quiet supervisor.service microblog-setup.service microblog-agent.socket \
    microblog-backup.timer
# It is of this image alone, and so cannot be masked: what waits for a site waits for nothing here.
systemctl disable --quiet site-first.service
# Of a firewall that is to run, and does not yet, ufw takes no rule away.
sed -i 's/^ENABLED=yes/ENABLED=no/' /etc/ufw/ufw.conf
for port in 80 443; do
    ufw delete allow "$port/tcp" > /dev/null
done
sed -i 's/^ENABLED=no/ENABLED=yes/' /etc/ufw/ufw.conf
