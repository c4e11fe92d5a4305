#!/bin/sh
# Installs PACKAGES from a flat repository that holds all they need, and the base's
# updates: in a machine the disk labelled pool; in a chroot it is mounted already.
set -eu
echo "phase: install"

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
mkdir -p /run/pool
[ -e /run/pool/Packages.gz ] || mount -o ro /dev/disk/by-label/pool /run/pool
echo "deb [trusted=yes] file:/run/pool ./" > /run/bake.list

# apt as the bake wants it: that repository alone, and none of the base's own configuration, whose
# hooks ask questions, restart services or read indexes (needrestart, snap, command-not-found).
cat > /run/bake.conf <<'END'
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "/run/bake.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none";
APT::Install-Recommends "false";
APT::Status-Fd "1";
Dpkg::Use-Pty "0";
DPkg::Options { "--force-confdef"; "--force-confold"; };
DPkg::Lock::Timeout "600";
END
# No systemd in sight, as in a chroot: there is nothing for it to reload or to start.
bake_apt() {
    unshare --mount sh -eu -c 'mount -t tmpfs none /run/systemd; exec "$@"' sh \
        env APT_CONFIG=/run/bake.conf apt-get --yes --quiet=2 "$@"
}
bake_apt update
bake_apt dist-upgrade
# shellcheck disable=SC2086 # a list of package names
bake_apt install $PACKAGES

# The database server's own tables: where a base was composed for another processor its package could not make
# them, nor did it say so.
if [ -e /usr/bin/mariadb-install-db ] && [ ! -d /var/lib/mysql/mysql ]; then
    mariadb-install-db --rpm --cross-bootstrap --user=mysql --disable-log-bin --skip-test-db > /run/tables.log 2>&1 ||
        { cat /run/tables.log >&2; exit 1; }
fi

if [ -e /usr/bin/py3compile.bake ]; then
    echo "phase: compile"
    rm /usr/bin/py3compile
    dpkg-divert --quiet --local --rename --remove /usr/bin/py3compile
    if [ -e /run/py3compile ]; then
        # Errors are in files for other Python versions than this one.
        # shellcheck disable=SC2046 # names of packages
        dpkg --listfiles $(cat /run/py3compile) | grep '/dist-packages/.*\.py$' > /run/modules
        python3 -m compileall -q -j 0 -i /run/modules > /dev/null || true
    fi
fi
