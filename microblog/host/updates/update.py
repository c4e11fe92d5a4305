"""``microblog update``: a backup, the new packages, a look as visitors have it; and the way back.

:func:`prepare` is the installed version's work. :func:`finish` is done by a copy of that version's
code, in a service of systemd's: neither what comes nor a terminal that closes has a say in it.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import microblog
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.backups import backup, restore
from microblog.host.database import kinds
from microblog.host.machine import layout, lock, privileges, services
from microblog.host.site import maintenance, nginx, supervisor, telling
from microblog.host.updates import automatic, journal, packages, sight
from microblog.host.updates.journal import Change, Journal

UNIT = "microblog-update.service"
# The system's own, which has 'update --watch' before it.
_NIGHTLY = "apt-daily-upgrade.service"
_CODE = journal.FOLDER / "code"
FINISH = _CODE / "finish"
_START = """\
# A copy of the version that began an update is beside this file: it ends it, whatever has come.
import sys

sys.dont_write_bytecode = True
from microblog.errors import HostError
from microblog.host.updates.update import finish

try:
    finish(print)
except HostError as error:
    sys.exit(f"microblog: {error}")
"""
# Beside what is packed again: dpkg's own work, and logs.
_SPARE_BYTES = 64 * 2**20
_FOLLOW_SECONDS = 0.2
_DATABASE_SECONDS = 60
# The system may be at it as soon as it has booted.
_WATCH_SECONDS = 60.0
_DATABASES = ("mariadb.service", "mysql.service")
# How long the version that was there may take to answer again.
_BACK_SECONDS = 300.0
Say = Callable[[str], None]
# Where there is no systemd to have it.
_process: "subprocess.Popen[bytes] | None" = None


@dataclass(frozen=True)
class Plan:
    """:ivar changes: the packages, and their versions.
    :ivar size: what is written before anything is changed, in bytes, roughly.
    :ivar warnings: what apt warns of: a repository that was not reached may have more.
    """

    changes: list[Change]
    size: int
    warnings: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        if not self.changes:
            return ["Nothing to update"]
        return [change.text() for change in self.changes]


def available(*, refresh: bool, everything: bool = False) -> Plan:
    """What an update would change.

    :param refresh: bring apt's lists up to date first.
    :param everything: all of the system's packages, not only the site's and what it needs.
    :raises HostError: apt cannot tell.
    """
    privileges.require_root("update", "sudo microblog update")
    warnings = packages.refresh() if refresh else []
    found = packages.changes(everything=everything)
    return Plan(found, packages.size(found), warnings)


def prepare(plan: Plan, say: Say, *, seconds: float = 300.0) -> None:
    """Fetch what comes, keep what is there. Nothing that runs is changed.

    :param seconds: how long the new version may take to answer well.
    :raises HostError: an update may not begin now; nothing of it stays.
    """
    privileges.require_root("update", "sudo microblog update")
    _open_to_all()
    with journal.sole() as alone:
        if not alone or _not_ended():
            raise HostError("another update has not ended", "microblog update --finish ends it")
        if not sight.switched_off() and (wrong := sight.complaint()):
            raise HostError(
                f"the site is not well before the update: {wrong}",
                "microblog doctor says more; or update with no way back: apt-get upgrade",
            )
        begun = Journal("owner", plan.changes, _revisions(), seconds=seconds)
        begun.automatic = packages.automatic(plan.changes)
        try:
            _room(plan)
            packages.fetch(plan.changes)
            say("Keeping the version that is installed ...")
            _keep(begun)
            if packages.concerns_database(plan.changes):
                begun.backup = str(backup.backup(kind="update")[0])
                say(f"Backed up to {begun.backup}")
            begun.at(journal.READY)
        except (HostError, OSError) as error:
            journal.forget()
            raise _not_begun(error) from None
        except BaseException:
            journal.forget()
            raise


def _not_begun(error: "HostError | OSError") -> HostError:
    if isinstance(error, HostError):
        return HostError(f"the update was not begun: {error.message}", error.hint)
    return HostError(
        f"the update was not begun: {error.filename or journal.FOLDER}: {error.strerror}", "make room there"
    )


def watch(say: Say, *, seconds: float = 300.0) -> None:
    """Before the system updates itself: keep what the site stands on, where that may change.

    What cannot be kept has no way back, and is updated all the same: security goes first.
    """
    privileges.require_root("update", "sudo microblog update")
    if automatic.state() == automatic.Automatic(False, False) or sight.switched_off():
        return
    if sight.wait(_WATCH_SECONDS):
        return
    _open_to_all()
    with journal.sole() as alone:
        if not alone or _not_ended():
            return
        try:
            found = [
                change
                for change in packages.simulated("dist-upgrade")
                if packages.CONCERN.fullmatch(change.name)
            ]
            if not found:
                return
            begun = Journal("system", found, _revisions(), seconds=seconds)
            _room(Plan(found, packages.size(found)))
            _keep(begun)
            if packages.concerns_database(found):
                begun.backup = str(backup.backup(kind="update")[0])
            begun.at(journal.SYSTEM)
        except (HostError, OSError) as error:
            journal.forget()
            say(f"What the system updates now has no way back: {error}")


def _open_to_all() -> None:
    """Whatever root's own umask is: the application's user reads the code that is kept, and the status."""
    os.umask(0o022)


def _not_ended() -> bool:
    """Whether an update has begun; one that was interrupted before it had changed anything has not."""
    begun = journal.read()
    if begun and begun.step == journal.PREPARE:
        journal.forget()
        return False
    return begun is not None


def _room(plan: Plan) -> None:
    journal.FOLDER.mkdir(mode=0o755, exist_ok=True)
    free, needed = shutil.disk_usage(journal.FOLDER).free, plan.size + _SPARE_BYTES
    if free < needed:
        raise HostError(
            f"{journal.FOLDER} has {free // 2**20} MiB free, {needed // 2**20} MiB are needed",
            "apt-get clean, or delete something else there",
        )


def _keep(begun: Journal) -> None:
    """The code that ends the update, and the packages to go back to."""
    for folder in (_CODE, journal.OLD):
        shutil.rmtree(folder, ignore_errors=True)
    journal.PROGRESS.unlink(missing_ok=True)
    source = Path(microblog.__file__).parent
    shutil.copytree(source, _CODE / "microblog", ignore=shutil.ignore_patterns("__pycache__"))
    FINISH.write_text(_START, encoding="utf-8")
    os.sync()
    # Not sooner: a power cut is ended by that code, whole.
    begun.at(journal.PREPARE)
    packages.keep(begun.changes, journal.OLD)
    os.sync()


def _revisions(seconds: float = 5) -> list[str]:
    database = kinds.of(Config.load(layout.env_file()).database_url)
    return sorted(database.revisions(lambda _: None, wait_seconds=seconds))


def begin() -> str:
    """Have a prepared update, or an interrupted one, go on by itself; :func:`follow` tells how it goes.

    :return: when it began, by which :func:`ended` knows it.
    :raises HostError: it cannot be started; if it was only prepared, nothing is left of it.
    """
    global _process
    which = begun.began if (begun := journal.read()) else ""
    if begun and begun.step == journal.SYSTEM and services.state(_NIGHTLY) == "activating":
        # Before it has changed anything, there would seem to be nothing to look at.
        raise HostError("the system updates itself at this moment", f"wait: systemctl status {_NIGHTLY}")
    journal.PROGRESS.unlink(missing_ok=True)
    if services.booted():
        done = services.run("systemctl", "start", UNIT)
        if done.returncode:
            if begun and begun.step == journal.READY:
                journal.forget()
            raise HostError(f"{UNIT} does not start: {done.stdout.strip()}", services.log_of(UNIT))
    else:
        _process = subprocess.Popen(
            ["/usr/bin/python3", str(FINISH)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    return which


def pending() -> bool:
    """Whether an update has not ended."""
    privileges.require_root("update", "sudo microblog update")
    return journal.read() is not None


def running() -> bool:
    """Whether an update goes on at this moment."""
    with journal.sole() as alone:
        return not alone


def follow() -> Iterator[str]:
    """The lines of an update that has been begun, until it ends."""
    seen = 0
    while True:
        # Asked before the lines are read: none comes after.
        goes_on = _goes_on()
        text = journal.PROGRESS.read_text(encoding="utf-8") if journal.PROGRESS.exists() else ""
        lines = text[seen : text.rfind("\n") + 1]
        seen += len(lines)
        yield from lines.splitlines()
        if not goes_on:
            return
        time.sleep(_FOLLOW_SECONDS)


def _goes_on() -> bool:
    if services.booted():
        return services.goes_on(UNIT)
    return _process is not None and _process.poll() is None


def ended(which: str) -> dict[str, Any]:
    """How the update ended that was followed to its end; one that had changed nothing has left nothing.

    :param which: as :func:`begin` has said.
    :raises HostError: it has not ended.
    """
    if journal.read():
        raise HostError(
            "the update has not ended", f"{services.log_of(UNIT)}; then: microblog update --finish"
        )
    last = journal.last()
    return last if last.get("began") == which else {"result": journal.NOTHING}


def see_good(ended: "dict[str, Any]") -> None:
    """:raises HostError: an update has ended otherwise than with what was wanted."""
    if ended["result"] in (journal.UPDATED, journal.NOTHING):
        return
    log = f"the log is {packages.LOG}"
    if ended["result"] == journal.TAKEN_BACK:
        raise HostError(f"the update was taken back: {ended['why']}", log)
    raise HostError(f"the update has failed: {ended['why']}", f"microblog doctor says more; {log}")


def finish(say: Say) -> "dict[str, Any] | None":
    """End an update, either way: after :func:`prepare`, and at the boot after a power cut.

    :return: how it ended, as :func:`journal.last` says; None where there was none.
    """
    privileges.require_root("update", "sudo microblog update")
    _open_to_all()
    with journal.sole() as alone:
        begun = journal.read()
        if not alone or begun is None:
            return None

        def told(text: str) -> None:
            say(text)
            _note(text)

        ended = _finish(begun, told)
        # If the unit fails another time, that is told again.
        (journal.TOLD / UNIT.removesuffix(".service")).unlink(missing_ok=True)
        return ended


def _note(text: str) -> None:
    """Who has lost the terminal, or looks from a page, reads on there."""
    with suppress(OSError), journal.PROGRESS.open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def _finish(begun: Journal, say: Say) -> "dict[str, Any] | None":
    if begun.step == journal.PREPARE:
        journal.forget()
        say("An update was interrupted before it had changed anything: begin it again")
        return None
    packages.wait_for_others()
    if begun.step == journal.SYSTEM:
        # As it came to be: the system takes what it is told to, and not all that there is.
        begun.changes = [
            replace(change, new=packages.installed(change.name)) for change in begun.changes
            if packages.installed(change.name) != change.old or not packages.whole(change.name)
        ]  # fmt: skip
        if not begun.changes:
            journal.forget()
            return None
        packages.complete()
        _at(begun, journal.CHECK)
    if begun.step == journal.READY:
        _at(begun, journal.INSTALL)
    if begun.step == journal.INSTALL:
        say(f"Installing {', '.join(change.text() for change in begun.changes)}")
        if why := packages.install(begun.changes, begun.automatic, _heard(say)) or _set_up():
            _bad(begun, why)
        else:
            _at(begun, journal.CHECK)
    if begun.step == journal.CHECK:
        say("Looking at the site as visitors do ...")
        if not sight.switched_off() and (wrong := sight.wait(begun.seconds)):
            _bad(begun, wrong)
        else:
            packages.accept(begun.changes)
            say("The update is in place, and visitors see the site")
            return journal.end(begun, journal.UPDATED)
    return _go_back(begun, say)


def _set_up() -> str:
    """Where there is no systemd, the package leaves that to whoever has the container: what was there before
    would run on, and seem to be good.

    :return: why it could not be done; empty where it is.
    """
    if services.booted():
        return ""
    done = services.run("microblog", "setup")
    lines = [line for line in done.stdout.splitlines() if line.startswith("microblog: ")]
    return (
        (lines or ["microblog: setup has failed"])[-1].removeprefix("microblog: ") if done.returncode else ""
    )


def _bad(begun: Journal, why: str) -> None:
    begun.why = why
    _at(begun, journal.BACK)


def _at(begun: Journal, step: str) -> None:
    """On a disk that the update has filled it goes on: each step may be done again after a power cut, and the
    way back makes room."""
    with suppress(OSError):
        begun.at(step)


def _heard(say: Say) -> Callable[[str], None]:
    """Of what apt says: a package's turn, and setup's own words."""

    def heard(line: str) -> None:
        if line.startswith(
            ("Setting up ", "microblog: ", "Backed up to ", "Bringing the database", "dpkg: error")
        ):
            say(line)

    return heard


def _go_back(begun: Journal, say: Say) -> dict[str, Any]:
    say(f"The new version is taken back: {begun.why}")
    # A database server that the update has broken is mended by its old version alone.
    waits = _data_back(begun, say)
    wrong = packages.put_back(journal.OLD, begun.changes, _heard(say))
    _set_up()
    for unit in (*_DATABASES, nginx.UNIT, supervisor.UNIT):
        # What could not start is not tried again by itself.
        if services.state(unit) == "failed":
            services.run("systemctl", "reset-failed", unit)
            services.control("start", unit)
    if waits:
        waits = _data_back(begun, say, again=True)
        packages.complete()
    if not sight.switched_off():
        wrong = sight.wait(max(begun.seconds, _BACK_SECONDS)) or packages.not_back(begun.changes, wrong)
    try:
        packages.refuse([change for change in begun.changes if change.old])
    except OSError as error:
        say(f"apt will offer that version again: {error.filename}: {error.strerror}")
    if wrong or waits:
        ended = journal.end(
            begun, journal.FAILED, f"{begun.why}; and the way back has failed: {waits or wrong}"
        )
    else:
        say("Version and data are as they were")
        ended = journal.end(begun, journal.TAKEN_BACK, begun.why)
    _tell(ended, say)
    return ended


def _data_back(begun: Journal, say: Say, *, again: bool = False) -> str:
    """Put the data back where the update has changed their schema.

    :return: why that has to wait for the old version, or has failed; empty where all is well.
    """
    if not begun.backup:
        return ""
    try:
        config = Config.load(layout.env_file())
    except HostError as error:
        # The packages go back all the same.
        return error.message
    database = kinds.of(config.database_url)
    if database.elsewhere:
        # Others may be writing to it at this moment: their posts must stay.
        say(f"The database is as the update left it; a backup is in {begun.backup}")
        return ""
    with lock.sole(say):
        try:
            # One that a power cut has ended.
            restore.finish(say)
            there = _revisions(_DATABASE_SECONDS if again else 5)
            if there == begun.revisions and not layout.UPGRADING.exists():
                return ""
            maintenance.on()
            supervisor.stop()
            _keep_written(say)
            say("Putting the data back ...")
            restore.put_back(Path(begun.backup), config, say)
            layout.UPGRADING.unlink(missing_ok=True)
        except (HostError, OSError) as error:
            return error.message if isinstance(error, HostError) else str(error)
    return ""


def _keep_written(say: Say) -> None:
    """Visitors may have written between the new version's start and its end."""
    try:
        say(f"What was written meanwhile is kept in {backup.backup(kind='restore')[0]}")
    except HostError as error:
        say(f"What was written meanwhile is not kept: {error.message}")


def _tell(ended: dict[str, Any], say: Say) -> None:
    lines = [Change(**change).text() for change in ended["changes"]]
    whose = "An update" if ended["origin"] == "owner" else "An update that the system made by itself"
    then = (
        "The next version is taken when it comes; this one no more, until: microblog update --again"
        if ended["result"] == journal.TAKEN_BACK
        else "microblog doctor says what to do"
    )
    telling.tell(
        f"{whose} was {ended['result']}" if ended["result"] != journal.FAILED else f"{whose} has failed",
        "\n".join([f"Because: {ended['why']}", "", *lines, "", then]),
        say,
    )
