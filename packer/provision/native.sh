#!/bin/sh
# Installs microblog and PACKAGES from the distribution's archive, on a server of a cloud.
set -eu
echo "phase: install"

# Ubuntu's needrestart would restart, or ask to restart, what the snapshot does not need running.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 NEEDRESTART_SUSPEND=1
# prepare.sh has stopped the timers that take apt's locks; an upgrade under way goes on to its end.
native_apt() {
    apt-get --yes --quiet=2 -o DPkg::Lock::Timeout=600 -o APT::Install-Recommends=false \
        -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}
native_apt update
native_apt dist-upgrade
# shellcheck disable=SC2086 # a list of package names
native_apt install /tmp/microblog.deb $PACKAGES

if [ -e /usr/bin/py3compile.bake ]; then
    rm /usr/bin/py3compile
    dpkg-divert --quiet --local --rename --remove /usr/bin/py3compile
    if [ -e /run/py3compile ]; then
        # Errors are in files for other Python versions than this one.
        # shellcheck disable=SC2046 # names of packages
        dpkg --listfiles $(cat /run/py3compile) | grep '/dist-packages/.*\.py$' > /run/modules
        python3 -m compileall -q -j 0 -i /run/modules > /dev/null || true
    fi
fi
