"""What the next restore will need: a backup that is whole, room, and the right to make a second database."""

from collections.abc import Iterator

from microblog.config import Config
from microblog.errors import HostError
from microblog.host.backups import backup, elsewhere, nightly, restore
from microblog.host.database import kinds
from microblog.host.health import status as glance
from microblog.host.health.finding import Check, Finding, Plain
from microblog.host.machine import layout, lock, services

_TIMER = "microblog-backup.timer"


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


def _elsewhere(_: Config) -> Iterator[Finding]:
    """The second place, and the weekly drill."""
    facts = glance.status()
    hints = {step: hint for step, _, hint in nightly.failures()}
    if not facts["elsewhere"].ok:
        hint = hints.get("send")
        yield Finding(
            "backup.elsewhere",
            "error",
            "The last backup is not in its second place.",
            f"{facts['elsewhere'].text}.",
            f"{hint}; then: microblog backup" if hint else "microblog backup sends one",
        )
    if not facts["drill"].ok:
        hint = hints.get("drill")
        yield Finding(
            "backup.drill",
            "error",
            "No backup was seen to be good lately.",
            f"The weekly drill: {facts['drill'].text}.",
            f"{hint}; then: microblog backup --drill" if hint else "microblog backup --drill",
        )
    now = elsewhere.chosen()
    if now and not now.shown:
        yield Finding(
            "backup.sheet",
            "warning",
            "Nobody could restore the backups elsewhere: nobody has their key.",
            f"The recovery sheet for {now.place.address} was never made.",
            "microblog backup --sheet FILE.html, to print",
        )


def _place() -> Iterator[Finding]:
    try:
        layout.BACKUPS.lstat()
        there = layout.BACKUPS.is_dir()
    except FileNotFoundError:
        return
    if not there:
        yield Finding(
            "backup.place",
            "error",
            f"No backup can be made: {layout.BACKUPS} is no folder.",
            "It is a file, or a link to what is not there.",
            f"rm {layout.BACKUPS}; then: microblog backup",
        )


def _timer() -> Iterator[Finding]:
    if services.booted() and services.state(_TIMER) != "active":
        yield Finding(
            "backup.timer",
            "warning",
            "No backup is made by itself.",
            f"{_TIMER} does not run.",
            f"systemctl enable --now {_TIMER}",
        )


def _newest(config: Config) -> Iterator[Finding]:
    """The backup that somebody would reach for first."""
    entries = backup.listing()
    if not entries:
        return
    path = max((path for path, _ in entries), key=lambda path: path.stat().st_mtime)
    try:
        manifest = restore.check(path)
    except HostError as error:
        yield Finding(
            "backup.damaged",
            "error",
            f"The last backup cannot be restored: {path.name}.",
            f"{error.message}.",
            "microblog backup makes another; look at the disk (dmesg)",
        )
        return
    size = sum(member["size"] for member in manifest["members"].values())
    try:
        kinds.check_space(kinds.of(config.database_url), size)
    except HostError as error:
        yield Finding(
            "restore.room",
            "warning",
            "The last backup could not be restored on this disk.",
            f"{error.message}.",
            "make room before you need it",
        )


def _unfinished() -> Iterator[Finding]:
    if not lock.free():
        return
    for path, what in ((layout.RESTORING, "restore"), (layout.UPGRADING, "upgrade")):
        if path.exists():
            yield Finding(
                "backup.unfinished",
                "error",
                f"A {what} has not come to its end.",
                f"{path} is there, and nobody works on it.",
                "microblog setup goes on with it",
            )


PLAIN: tuple[Plain, ...] = (_place, _timer, _unfinished)
CHECKS: tuple[Check, ...] = (_backup, _elsewhere, _newest)
