#!/bin/sh
# A fleet's application: the site, and its own way to the databases.
set -eu
echo "phase: app"

sh "$FILES/lay" app
systemctl enable --quiet haproxy.service
