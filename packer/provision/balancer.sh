#!/bin/sh
# What stands before a fleet's applications. The package is there for what it does to a server; its site is not.
set -eu
echo "phase: balancer"

sh "$FILES/lay" balancer
systemctl enable --quiet haproxy.service keepalived.service fleet-certificate.timer
systemctl mask --quiet supervisor.service microblog-setup.service microblog-agent.socket \
    microblog-backup.timer site-first.service
