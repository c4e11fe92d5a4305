"""``microblog doctor``: what is wrong with this machine, why, and what helps.

A table of checks, each for one kind of trouble; adding one adds a function and a line.
"""

import os
import pwd
import shutil
import smtplib
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import microblog
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.database import schema, server, staging
from microblog.host.health import status as glance
from microblog.host.machine import layout, services
from microblog.host.site import certificate, maintenance, nginx, supervisor

_MAIL_SECONDS = 5
_DATABASE_SECONDS = 5


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    what: str
    why: str
    remedy: str


def doctor() -> list[Finding]:
    """Look at everything.

    :raises HostError: if not run by root, who alone sees it all.
    """
    if os.geteuid() != 0:
        raise HostError("only root sees what is wrong with a machine", "sudo microblog doctor")
    try:
        config = Config.load(layout.env_file())
    except HostError as error:
        return [Finding("The settings cannot be used.", error.message, error.hint)]
    return [finding for check in CHECKS for finding in check(config)]


def _maintenance(_: Config) -> Iterator[Finding]:
    if maintenance.FLAG.exists():
        yield Finding(
            "Visitors see the maintenance page.",
            "An upgrade or a restore is under way, or has failed.",
            "microblog setup",
        )


def _database(config: Config) -> Iterator[Finding]:
    try:
        present = schema.present(config.database_url, lambda _: None, wait_seconds=_DATABASE_SECONDS)
    except HostError as error:
        yield Finding("The database does not answer.", error.message, error.hint)
        return
    if present != schema.known(schema.migrations())[1]:
        yield Finding(
            "The database's schema is not this version's.",
            f"It is at {' '.join(sorted(present)) or 'none'}; an upgrade may have been interrupted.",
            "microblog setup",
        )


def _units(_: Config) -> Iterator[Finding]:
    wanted = [supervisor.UNIT, *([nginx.UNIT] if nginx.installed() else [])]
    for unit in wanted:
        state = services.state(unit)
        if services.masked(unit):
            yield Finding(
                f"{unit} is masked.",
                "Somebody has forbidden it to start.",
                f"systemctl unmask {unit}; then: microblog setup",
            )
        elif state not in ("active", "unknown"):
            yield Finding(
                f"{unit} does not run.",
                f"It is {state}.",
                f"{services.log_of(unit)}; then: microblog setup",
            )
    if services.state("microblog-setup.service") == "failed":
        yield Finding(
            "The machine was not complete when it booted.",
            "microblog-setup.service has failed.",
            "journalctl -u microblog-setup; then: microblog setup",
        )


def _application(_: Config) -> Iterator[Finding]:
    if maintenance.FLAG.exists() or supervisor.answers():
        return
    state = supervisor.program_state()
    yield Finding(
        "The application does not answer.",
        f"supervisor calls it {state}.",
        f"see {layout.LOGS / 'gunicorn.log'}; then: microblog setup",
    )


def _ports(_: Config) -> Iterator[Finding]:
    wanted = {layout.app_address()[1]: "gunicorn"}
    if nginx.installed():
        wanted.update({80: "nginx", 443: "nginx"})
    for port, program in wanted.items():
        # gunicorn's own name is its interpreter's.
        for other in sorted(services.holders(port) - {program, "python3"}):
            yield Finding(
                f"Port {port} is taken by {other}.",
                f"{program} needs it for the site.",
                f"stop {other} or give it another port; then: microblog setup",
            )


def _nginx(_: Config) -> Iterator[Finding]:
    if not nginx.installed():
        return
    done = services.run("nginx", "-t", "-q")
    if done.returncode:
        first = (done.stdout.strip().splitlines() or ["it does not say why"])[0]
        yield Finding("nginx does not accept its configuration.", first, "mend that; then: microblog setup")
    elif not nginx.enabled():
        yield Finding(
            "nginx does not know the site.",
            "Its link in /etc/nginx/sites-enabled is gone.",
            "microblog setup",
        )


def _certificate(_: Config) -> Iterator[Finding]:
    if not nginx.installed():
        return
    files = (str(certificate.CERTIFICATE), str(certificate.KEY))
    of_certificate = services.run("openssl", "x509", "-in", files[0], "-noout", "-pubkey")
    of_key = services.run("openssl", "pkey", "-in", files[1], "-pubout")
    if of_certificate.returncode or of_key.returncode or of_certificate.stdout != of_key.stdout:
        yield Finding(
            "Certificate and key do not belong together, or cannot be read.",
            f"{files[0]} and {files[1]} are read by nginx.",
            "put the right pair there, or remove both; then: microblog setup, and nginx -s reload",
        )
        return
    for days, what in ((0, "has expired"), (glance.CERTIFICATE_DAYS, "expires soon")):
        if services.run(
            "openssl", "x509", "-in", files[0], "-noout", "-checkend", str(days * 86400)
        ).returncode:
            yield Finding(
                f"The certificate {what}.",
                "Browsers refuse it, or will.",
                "certbot renew, where it is an authority's; then: microblog setup",
            )
            return


def _disk(_: Config) -> Iterator[Finding]:
    for place in (Path("/"), layout.STATE, layout.LOGS, Path("/tmp"), layout.BACKUPS):  # noqa: S108
        if not place.is_dir():
            continue
        usage, inodes = shutil.disk_usage(place), os.statvfs(place)
        if inodes.f_flag & os.ST_RDONLY:
            yield Finding(
                f"{place} is read-only.",
                "Linux makes a damaged file system so; dmesg tells.",
                "check the disk (fsck), mount it writable (mount -o remount,rw)",
            )
        elif usage.free * 100 < usage.total * glance.FREE_PERCENT:
            yield Finding(
                f"The disk of {place} is full.",
                f"{usage.free // 2**20} MiB of {usage.total // 2**20} MiB are free.",
                "du -xh / | sort -h | tail; old logs, backups and packages (apt-get clean) can go",
            )
        elif inodes.f_files and inodes.f_favail * 100 < inodes.f_files * glance.FREE_PERCENT:
            yield Finding(
                f"The disk of {place} can hold no more files.",
                f"{inodes.f_favail} of {inodes.f_files} inodes are free.",
                "delete what is many and small: old sessions, mails, caches",
            )


def _clock(_: Config) -> Iterator[Finding]:
    # The package's files are older than any right time.
    if time.time() < Path(microblog.__file__).stat().st_mtime:
        yield Finding(
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
        (layout.STATE, uid, gid, 0o027),
        (layout.BACKUPS, 0, 0, 0o077),
    ]
    if server.Target.parse(config.database_url) is None:
        expected.append((staging.sqlite_path(config.database_url), uid, gid, 0o027))
    for path, owner, group, forbidden in expected:
        with suppress(FileNotFoundError):
            entry = path.stat()
            if entry.st_uid != owner or entry.st_mode & forbidden or (group and entry.st_gid != group):
                yield Finding(
                    f"{path} is open to others, or closed to the site.",
                    f"It is {stat.filemode(entry.st_mode)} {_name(entry.st_uid)}.",
                    f"chown {owner}:{group} {path}; chmod {0o777 & ~forbidden & entry.st_mode:o} {path}",
                )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _backup(config: Config) -> Iterator[Finding]:
    fact = glance.status()["backup"]
    if not fact.ok:
        yield Finding(
            "The last backup is old.",
            fact.text,
            "systemctl status microblog-backup.timer microblog-backup.service; microblog backup",
        )


def _mail(config: Config) -> Iterator[Finding]:
    relay = config.mail
    if relay is None:
        return
    try:
        kind = smtplib.SMTP_SSL if relay.tls == "tls" else smtplib.SMTP
        with kind(relay.host, relay.port, timeout=_MAIL_SECONDS) as connection:
            connection.noop()
    except (OSError, smtplib.SMTPException) as error:
        yield Finding(
            f"The mail server {relay.host}:{relay.port} does not answer.",
            str(error),
            "systemctl status postfix, or check MAIL_SERVER in the settings",
        )


CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    _disk,
    _clock,
    _permissions,
    _maintenance,
    _units,
    _ports,
    _database,
    _application,
    _nginx,
    _certificate,
    _backup,
    _mail,
)
