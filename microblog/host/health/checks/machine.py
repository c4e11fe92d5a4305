"""What the site stands on: disk, clock, services, ports, the package itself."""

import os
import pwd
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import microblog
from microblog.config import Config
from microblog.host.backups import journal
from microblog.host.database import kinds, memory, server
from microblog.host.health import failed
from microblog.host.health import status as glance
from microblog.host.health.finding import Check, Finding, Plain
from microblog.host.machine import firewall, layout, services
from microblog.host.site import authority, certificate, nginx, supervisor

# Found as what it leaves undone.
_TOLD = {"microblog-setup", layout.LATER}
_UNDONE = {
    "certbot": "The site's certificate was not renewed: when it ends, browsers refuse the site.",
    "microblog-backup": "No backup was made.",
}
# What lets a port in, of each firewall.
_OPENS = {
    "ufw": "ufw allow {}/tcp",
    "firewalld": "firewall-cmd --permanent --add-port={}/tcp; firewall-cmd --reload",
    "iptables": "iptables -I INPUT -p tcp --dport {} -j ACCEPT; and where your rules are kept",
    "nftables": "a rule 'tcp dport {} accept' in the chain that drops (/etc/nftables.conf)",
}


def _units() -> Iterator[Finding]:
    web = nginx.installed() and not nginx.neighbour()
    wanted = [supervisor.UNIT, *([nginx.UNIT] if web else [])]
    for unit in wanted:
        state = services.state(unit)
        if services.masked(unit):
            yield Finding(
                "unit.masked",
                "error",
                f"{unit} is masked.",
                "Somebody has forbidden it to start.",
                f"systemctl unmask {unit}; then: microblog setup",
            )
        elif state not in ("active", "unknown"):
            yield Finding(
                "unit.down",
                "error",
                f"{unit} does not run.",
                f"It is {state}.",
                f"{services.log_of(unit)}; then: microblog setup",
            )
    if "failed" in (services.state("microblog-setup.service"), services.state(f"{layout.LATER}.service")):
        yield Finding(
            "setup.failed",
            "warning",
            "The machine was not complete when it booted.",
            "microblog-setup.service has failed.",
            "journalctl -u microblog-setup; then: microblog setup",
        )
    for unit in failed.failed():
        # Of a backup, a step that has failed is a finding of its own.
        if unit in _TOLD or (unit == "microblog-backup" and journal.read().get("failed")):
            continue
        yield Finding(
            "unit.failed",
            "warning",
            f"{unit}.service has failed.",
            _UNDONE.get(unit, "It did not do what it is for when it ran last."),
            f"{services.log_of(unit)}; when that is mended: systemctl start {unit}",
        )


def _ports() -> Iterator[Finding]:
    wanted: dict[int, str] = {}
    address = layout.app_address()
    if not address.startswith("unix:"):
        wanted[int(address.rpartition(":")[2])] = "gunicorn"
    if nginx.installed() and not nginx.neighbour():
        wanted.update(dict.fromkeys({80, 443} - set(nginx.left()), "nginx"))
    for port, program in wanted.items():
        # gunicorn's own name is its interpreter's.
        for other in sorted(
            services.holders(port) - {program, *(["python3"] if program == "gunicorn" else [])}
        ):
            yield Finding(
                "port.taken",
                "error",
                f"Port {port} is taken by {other}.",
                f"{program} needs it for the site.",
                f"stop {other} or give it another port; then: microblog setup",
            )


def _places() -> set[Path]:
    return {Path("/"), layout.STATE, layout.LOGS, Path("/tmp"), layout.BACKUPS, server.data()}  # noqa: S108


def _disk() -> Iterator[Finding]:
    yield from _full(_places())


def _disk_of_data(config: Config) -> Iterator[Finding]:
    """A file of SQLite's may be anywhere."""
    if data := kinds.of(config.database_url).data:
        yield from _full({data} - _places())


def _full(places: set[Path]) -> Iterable[Finding]:
    for place in sorted(places):
        if not place.is_dir():
            continue
        usage, inodes = shutil.disk_usage(place), os.statvfs(place)
        if inodes.f_flag & os.ST_RDONLY:
            yield Finding(
                "disk.readonly",
                "error",
                f"{place} is read-only.",
                "Linux makes a damaged file system so; dmesg tells.",
                "check the disk (fsck), mount it writable (mount -o remount,rw)",
            )
        elif usage.free * 100 < usage.total * glance.FREE_PERCENT:
            yield Finding(
                "disk.full",
                "error",
                f"The disk of {place} is full.",
                f"{usage.free // 2**20} MiB of {usage.total // 2**20} MiB are free.",
                "du -xh / | sort -h | tail; old logs, backups and packages (apt-get clean) can go",
            )
        elif inodes.f_files and inodes.f_favail * 100 < inodes.f_files * glance.FREE_PERCENT:
            yield Finding(
                "disk.inodes",
                "error",
                f"The disk of {place} can hold no more files.",
                f"{inodes.f_favail} of {inodes.f_files} inodes are free.",
                "delete what is many and small: old sessions, mails, caches",
            )


def _clock() -> Iterator[Finding]:
    # The package's files are older than any right time.
    if time.time() < Path(microblog.__file__).stat().st_mtime:
        yield Finding(
            "clock",
            "error",
            "The clock is wrong.",
            f"It says {time.strftime('%Y-%m-%d %H:%M')}, before this version was made.",
            "timedatectl set-ntp true; without network: timedatectl set-time",
        )


def _permissions(config: Config) -> Iterator[Finding]:
    uid, gid = layout.user_ids()
    expected: list[tuple[Path, int, int, int]] = [
        (layout.ETC, 0, gid, 0o027),
        (layout.env_file(), 0, gid, 0o027),
        (layout.TLS, 0, gid, 0o027),
        (certificate.KEY, 0, 0, 0o077),
        (authority.KEY, 0, 0, 0o077),
        (layout.STATE, uid, gid, 0o027),
        (layout.BACKUPS, 0, 0, 0o077),
    ]
    if file := kinds.of(config.database_url).file:
        expected.append((file, uid, gid, 0o027))
    for path, owner, group, forbidden in expected:
        with suppress(FileNotFoundError):
            entry = path.stat()
            if entry.st_uid != owner or entry.st_mode & forbidden or (group and entry.st_gid != group):
                yield Finding(
                    "permissions",
                    "error",
                    f"{path} is open to others, or closed to the site.",
                    f"It is {stat.filemode(entry.st_mode)} {_name(entry.st_uid)}.",
                    f"chown {owner}:{group} {path}; chmod {0o777 & ~forbidden & entry.st_mode:o} {path}",
                )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _package() -> Iterator[Finding]:
    """apt goes on with other packages, or not, where one has failed."""
    said = services.run("dpkg-query", "--show", "--showformat", "${db:Status-Status}", layout.USER)
    if said.returncode == 0 and said.stdout not in ("installed", "not-installed", "config-files"):
        yield Finding(
            "package.unfinished",
            "warning",
            "The package is not installed to its end.",
            f"dpkg calls it {said.stdout}: an installation or an upgrade was interrupted.",
            "dpkg --configure --pending",
        )


def _memory(config: Config) -> Iterator[Finding]:
    database, path = kinds.of(config.database_url), memory.drop_in()
    if not (database.ours and path and path.exists()):
        return
    if (
        memory.ours(path.read_text(encoding="utf-8", errors="replace"))
        and memory.fitting() != path.read_text()
    ):
        yield Finding(
            "memory.size",
            "warning",
            "The database server is set up for a machine of another size.",
            f"{path} was written when the machine had more memory, or less.",
            "microblog setup",
        )


def _firewall(config: Config) -> Iterator[Finding]:
    """Asked for on this machine itself, the site is there whatever a firewall does to others."""
    wanted = layout.open_ports(config.bind)
    if nginx.installed() and nginx.links():
        wanted |= {80, 443} if config.https else {80}
    for port, whose in sorted(firewall.closed(wanted).items()):
        yield Finding(
            "firewall.closed",
            "error",
            f"The firewall keeps visitors from port {port}.",
            f"No rule of {whose} lets anybody come there.",
            _OPENS[whose].format(port),
        )


PLAIN: tuple[Plain, ...] = (_disk, _clock, _units, _package, _ports)
CHECKS: tuple[Check, ...] = (_disk_of_data, _permissions, _memory, _firewall)
