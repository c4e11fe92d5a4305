#!/bin/sh
# Lets a small server swap: as much as it has memory, 1 GiB at most. cloud-init makes the file at the
# first boot, when the root file system has grown to its disk.
set -eu
echo "phase: swap"

cat > /etc/cloud/cloud.cfg.d/30-swap.cfg <<'END'
swap: {filename: /swap.img, size: auto, maxsize: 1073741824}
END
