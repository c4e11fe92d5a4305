"""``microblog doctor``: what is wrong with this machine, why, and what helps.

A table of checks, each for one kind of trouble; adding one adds a function and a line.
"""

import difflib
import json
import os
import pwd
import re
import shutil
import smtplib
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

import microblog
from microblog.config import Config, known_settings
from microblog.errors import HostError
from microblog.host.database import schema, server, staging
from microblog.host.health import status as glance
from microblog.host.machine import layout, privileges, services
from microblog.host.site import certificate, front, maintenance, nginx, supervisor

_MAIL_SECONDS = 5
_DATABASE_SECONDS = 5
_DEFERRED_SECONDS = 3600
# What 'microblog mail' has opendkim read.
_OPENDKIM = Path("/etc/opendkim-microblog.conf")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    :ivar id: stays the same from one version to the next.
    :ivar severity: ``error``: visitors or data suffer; ``warning``: they will; ``note``: look at it.
    """

    id: str
    severity: str
    what: str
    why: str
    remedy: str


def doctor() -> list[Finding]:
    """Look at everything.

    :raises HostError: if not run by root, who alone sees it all.
    """
    privileges.require_root("see what is wrong with a machine", "sudo microblog doctor")
    try:
        config = Config.load(layout.env_file())
    except HostError as error:
        return [
            Finding("settings.unusable", "error", "The settings cannot be used.", error.message, error.hint)
        ]
    return [finding for check in CHECKS for finding in _safely(check, config)]


def _safely(check: Callable[[Config], Iterator[Finding]], config: Config) -> Iterator[Finding]:
    """A check that fails to look says so, and hides no other."""
    try:
        yield from check(config)
    except Exception as error:
        name = check.__name__.strip("_")
        text = (str(error).splitlines() or [""])[0][:200]
        yield Finding(
            f"{name}.unseen",
            "warning",
            f"The doctor could not look at: {name}.",
            f"{type(error).__name__}: {text}",
            "mend that; then: microblog doctor",
        )


def _maintenance(_: Config) -> Iterator[Finding]:
    if maintenance.FLAG.exists():
        yield Finding(
            "maintenance",
            "error",
            "Visitors see the maintenance page.",
            "An upgrade or a restore is under way, or has failed.",
            "microblog setup",
        )


def _database(config: Config) -> Iterator[Finding]:
    try:
        present = schema.present(config.database_url, lambda _: None, wait_seconds=_DATABASE_SECONDS)
    except HostError as error:
        yield Finding("database.down", "error", "The database does not answer.", error.message, error.hint)
        return
    if present != schema.known(schema.migrations())[1]:
        yield Finding(
            "database.schema",
            "error",
            "The database's schema is not this version's.",
            f"It is at {' '.join(sorted(present)) or 'none'}; an upgrade may have been interrupted.",
            "microblog setup",
        )


def _units(_: Config) -> Iterator[Finding]:
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


def _application(_: Config) -> Iterator[Finding]:
    if maintenance.FLAG.exists() or supervisor.answers() or supervisor.switched_off():
        return
    if supervisor.impostor():
        yield Finding(
            "application.impostor",
            "error",
            f"Another program answers at {layout.app_address()}, in the application's place.",
            "It does not know the site's key: log-ins may go to it. (Or the key was changed since.)",
            "stop it, or take BIND out of the settings; then: microblog setup",
        )
        return
    state = supervisor.program_state()
    yield Finding(
        "application.down",
        "error",
        "The application does not answer.",
        f"supervisor calls it {state}.",
        f"see {layout.LOGS / 'gunicorn.log'}; then: microblog setup",
    )


def _ports(_: Config) -> Iterator[Finding]:
    wanted: dict[int, str] = {}
    address = layout.app_address()
    if not address.startswith("unix:"):
        wanted[int(address.rpartition(":")[2])] = "gunicorn"
    if nginx.installed() and not nginx.neighbour():
        wanted.update({80: "nginx", 443: "nginx"})
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


def _visitors(config: Config) -> Iterator[Finding]:
    """What they see, asked for as they do; why they do not is the other checks' business."""
    if maintenance.FLAG.exists() or not supervisor.answers() or nginx.switched_off():
        return
    sight = front.look(config)
    if sight is None or sight.good:
        return
    seen, address = f"{sight.text()[0].upper()}{sight.text()[1:]}", layout.app_address()
    if program := nginx.neighbour():
        yield Finding(
            "visitors.neighbour",
            "warning",
            f"Visitors do not see the site: {program} has the web's ports.",
            f"{seen}.",
            f"have {program} pass a name on to {address} (docs/package.md, beside another web server)",
        )
        return
    yield Finding(
        "visitors.elsewhere",
        "error",
        "Visitors do not see the site.",
        f"{seen}, though the application answers at {address}.",
        "microblog setup has nginx follow HOST_NAMES and BIND; another site may have the name (nginx -T)",
    )


def _settings(_: Config) -> Iterator[Finding]:
    """Names that nobody reads are mistakes of the pen."""
    known = known_settings()
    for name in sorted(set(dotenv_values(layout.env_file(), interpolate=False)) - known):
        close = difflib.get_close_matches(name.upper(), known, n=1)
        yield Finding(
            "settings.unknown",
            "warning",
            f"There is no setting {name}.",
            f"It is in {layout.env_file()} and nobody reads it.",
            f"is it {close[0]}?" if close else "take the line away",
        )


def _nginx(_: Config) -> Iterator[Finding]:
    if not nginx.installed():
        return
    done = services.run("nginx", "-t", "-q")
    if done.returncode:
        first = (done.stdout.strip().splitlines() or ["it does not say why"])[0]
        yield Finding(
            "nginx.refuses",
            "error",
            "nginx does not accept its configuration.",
            first,
            "mend that; then: microblog setup",
        )
    elif nginx.switched_off() or supervisor.switched_off():
        yield Finding(
            "site.off",
            "warning",
            "The site is switched off.",
            "Its link in sites-enabled, or supervisor's conf.d, was taken away.",
            "microblog setup --enable links it again; apt remove microblog retires it",
        )
    elif not nginx.links():
        yield Finding(
            "nginx.unlinked",
            "error",
            "nginx does not know the site.",
            "It was never linked into /etc/nginx/sites-enabled.",
            "microblog setup",
        )


def _certificate(_: Config) -> Iterator[Finding]:
    if not nginx.installed():
        return
    files = (str(certificate.CERTIFICATE), str(certificate.KEY))
    if not certificate.pair():
        yield Finding(
            "certificate.pair",
            "error",
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
                "certificate.end",
                "error",
                f"The certificate {what}.",
                "Browsers refuse it, or will.",
                "certbot renew, where it is an authority's; then: microblog setup",
            )
            return


def _disk(_: Config) -> Iterator[Finding]:
    for place in (Path("/"), layout.STATE, layout.LOGS, Path("/tmp"), layout.BACKUPS, glance.DATA):  # noqa: S108
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


def _clock(_: Config) -> Iterator[Finding]:
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


def _backup(config: Config) -> Iterator[Finding]:
    fact = glance.status()["backup"]
    if not fact.ok:
        yield Finding(
            "backup.old",
            "warning",
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
            "mail.down",
            "error",
            f"The mail server {relay.host}:{relay.port} does not answer.",
            str(error),
            "systemctl status postfix, or check MAIL_SERVER in the settings",
        )


def _signatures(config: Config) -> Iterator[Finding]:
    """Mail that 'microblog mail' has set up: signed for the domain that it comes from, and on its way."""
    if not (config.mail and _OPENDKIM.exists()):
        return
    signed = re.search(r"(?m)^Domain\s+(\S+)", _OPENDKIM.read_text(encoding="utf-8"))
    sender = config.mail_from.rpartition("@")[2]
    milters = services.run("postconf", "-h", "smtpd_milters").stdout
    if "8891" not in milters:
        return
    if signed and signed[1] != sender:
        yield Finding(
            "mail.unsigned",
            "warning",
            f"Mail from {sender or 'this machine'} is not signed.",
            f"Signatures are made for {signed[1]}.",
            f"microblog mail --domain {sender or signed[1]}",
        )
    if services.state("opendkim.service") not in ("active", "unknown"):
        yield Finding(
            "mail.signer",
            "warning",
            "Mail is not signed.",
            "opendkim does not run; what goes unsigned is taken for spam.",
            "systemctl restart opendkim; journalctl -u opendkim says why",
        )


def _queue(config: Config) -> Iterator[Finding]:
    """Mail that nobody takes."""
    if config.mail is None or config.mail.host not in ("localhost", "127.0.0.1", "::1"):
        return
    old = []
    for line in services.run("postqueue", "-j").stdout.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            message = json.loads(line)
            if (
                message["queue_name"] == "deferred"
                and time.time() - message["arrival_time"] > _DEFERRED_SECONDS
            ):
                old.append(str(message["recipients"][0].get("delay_reason", "")))
    if old:
        yield Finding(
            "mail.deferred",
            "warning",
            f"{len(old)} messages wait, and nobody takes them.",
            f"The first: {old[0][:160] or 'postfix does not say why'}.",
            "providers often block port 25: microblog mail --relay HOST; postqueue -p shows them",
        )


CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    _disk,
    _clock,
    _permissions,
    _maintenance,
    _units,
    _settings,
    _ports,
    _database,
    _application,
    _nginx,
    _visitors,
    _certificate,
    _backup,
    _mail,
    _signatures,
    _queue,
)
