#!/bin/sh
# What stands before a fleet's applications. The package is there for what it does to a server; its site is not.
set -eu
echo "phase: balancer"

sh "$FILES/lay" balancer
systemctl enable --quiet haproxy.service keepalived.service fleet-certificate.timer
systemctl mask --quiet supervisor.service microblog-setup.service microblog-agent.socket \
    microblog-backup.timer
# It is of this image alone, and so cannot be masked: what waits for a site waits for nothing here.
systemctl disable --quiet site-first.service
