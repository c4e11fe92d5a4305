"""From one version's schema to the next, and back where that fails.

Before a schema that is there is changed, visitors see the maintenance page, the application
ends, and a backup is made. Its name is kept in :data:`layout.UPGRADING` until the new version has
answered: so an upgrade that a power cut has ended goes on with the backup from its beginning.

Where all that is pending only expands the schema, the version before serves on meanwhile. Visitors write
then, so the way back is not that backup: what was added is taken away again.
"""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from microblog.config import Config
from microblog.errors import HostError
from microblog.host.database import kinds, schema
from microblog.host.machine import files, layout
from microblog.host.site import maintenance, supervisor

# How long another machine's migration may take.
_OTHERS_SECONDS = 600
_AGAIN_SECONDS = 2.0
_RETRY = "; then: microblog setup"
# MySQL's error 1412: a snapshot does not outlive a change of its tables.
CHANGED = "definition has changed"


def migrate(
    config: Config,
    say: Callable[[str], None],
    wait_seconds: "float | None" = None,
    beginning: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> bool:
    """Make the schema current, with a way back.

    :param wait_seconds: how long to wait for a server that is starting; None: as long as that may take.
    :param beginning: entered while the tables of a new database are made.
    :return: whether anything was missing.
    :raises HostError: the data are then as they were, and the site shows its maintenance page.
    """
    began = False

    def begin(present: set[str], expands: bool) -> None:
        nonlocal began
        if expands and (not (record := _record()) or "back_to" in record):
            _prepare_beside(config, say, present)
        else:
            _prepare(config, say)
            began = True

    try:
        return schema.ensure(config.database_url, say, begin, wait_seconds, beginning)
    except HostError as error:
        if began:
            changed = not kinds.of(config.database_url).undoes_migrations
            raise _undo(config, error, say, changed=changed) from None
        raise


def failed(config: Config, error: HostError, say: Callable[[str], None]) -> HostError:
    """What to raise where the new version does not answer: with the data as they were, if it changed them."""
    return _undo(config, error, say, changed=True) if layout.UPGRADING.exists() else error


def confirm() -> None:
    """The new version has answered, or visitors may already have written: there is no way back now."""
    layout.UPGRADING.unlink(missing_ok=True)


def _prepare(config: Config, say: Callable[[str], None]) -> None:
    maintenance.on()
    supervisor.stop()
    record = _record()
    if record and "back_to" not in record:
        say("Going on with an upgrade that was interrupted")
    else:
        _register(config, say, {})


def _record() -> dict[str, Any]:
    """The way back from an upgrade that has begun; empty where none has."""
    try:
        found: dict[str, Any] = json.loads(layout.UPGRADING.read_text()) if layout.UPGRADING.exists() else {}
    except ValueError:
        raise HostError(
            f"{layout.UPGRADING} cannot be read: it is damaged",
            f"if the data are as they were: rm {layout.UPGRADING}; then: microblog setup",
        ) from None
    return found


def _prepare_beside(config: Config, say: Callable[[str], None], present: set[str]) -> None:
    if not _record():
        _register(config, say, {"back_to": sorted(present)})
    say("The version before serves on meanwhile")


def _register(config: Config, say: Callable[[str], None], more: dict[str, object]) -> None:
    try:
        # The way back needs it; and a migration that runs out of it would have to go back.
        database = kinds.of(config.database_url)
        kinds.check_space(database, database.size())
        if "back_to" not in more and not database.elsewhere:
            # The way back puts tables aside, as a restore does.
            database.beside(say).refuse_ties()
        path = _backed_up(say)
    except HostError as error:
        raise HostError(f"the upgrade was not begun: {error.message}", _and_retry(error)) from None
    files.write(layout.UPGRADING, json.dumps({"backup": str(path), **more}), 0o600)
    say(f"Backed up to {path}")


def _backed_up(say: Callable[[str], None]) -> Path:
    """A backup of what is there; another machine that shares the database may be changing it just now."""
    # At most boots there is nothing to do here: what takes time to import comes late.
    from microblog.host.backups import backup

    deadline = time.monotonic() + _OTHERS_SECONDS
    while True:
        try:
            return backup.backup(kind="upgrade")[0]
        except HostError as error:
            if CHANGED not in error.message or time.monotonic() > deadline:
                raise
        say("Waiting for another machine that changes the database ...")
        time.sleep(_AGAIN_SECONDS)


def _undo(config: Config, error: HostError, say: Callable[[str], None], *, changed: bool) -> HostError:
    """Put the data back.

    :param changed: whether there is anything to put back.
    :return: what to raise.
    """
    maintenance.on()
    supervisor.disable()
    record = _record()
    path = Path(record["backup"])
    database = kinds.of(config.database_url)
    if database.elsewhere:
        # Others may be writing to it at this moment: their posts must stay.
        kept = f"the database, on another server, is as the upgrade left it; a backup is in {path}"
    else:
        if changed and "back_to" in record:
            try:
                schema.back(record["back_to"], say)
            except HostError as second:
                return HostError(f"{error.message}; and {second.message}", second.hint)
        elif changed:
            from microblog.host.backups import restore

            say("Putting the data back ...")
            try:
                restore.put_back(path, config, say)
            except HostError as second:
                return HostError(
                    f"{error.message}; and the data could not be put back: {second.message}",
                    f"the backup is {path}; {_and_retry(error)}",
                )
        kept = "the data are as they were"
    layout.UPGRADING.unlink(missing_ok=True)
    return HostError(f"{error.message}; {kept}, and the site shows its maintenance page", _and_retry(error))


def _and_retry(error: HostError) -> str:
    """The way out of an error, and then on with the upgrade, once said."""
    return f"{error.hint.removesuffix(_RETRY) or 'mend that'}{_RETRY}"
