#!/bin/sh
# What each machine of a fleet has: it becomes what its user data says.
set -eu
echo "phase: fleet"

sh "$FILES/lay" fleet
systemctl enable --quiet fleet-machine.service
