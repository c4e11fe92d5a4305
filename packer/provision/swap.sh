#!/bin/sh
# Lets a small server swap: as much as it has memory, 1 GiB at most. cloud-init makes the file at the
# first boot.
set -eu
echo "phase: swap"

sh "$FILES/lay" swap
