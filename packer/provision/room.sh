#!/bin/sh
# Lets the machine have all of its disk, and a small one swap: once the site is there, for cloud-init would do
# both before that.
set -eu
echo "phase: room"

sh "$FILES/lay" room
systemctl enable --quiet make-room.service
