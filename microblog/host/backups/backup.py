"""``microblog backup``: database, settings, secrets and certificate in one file.

The database's part does not depend on its kind: what was SQLite here can be MySQL elsewhere.
It is one moment's state, read while the site goes on.
"""

import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import microblog
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.backups import archive
from microblog.host.database import aside, kinds, rows, schema
from microblog.host.machine import files, layout, privileges

if TYPE_CHECKING:
    import sqlalchemy as sa

ENV_MEMBER = "config/microblog.env"
# The certificate's key, and that of the site's own authority: root's alone.
TLS_MEMBERS = {
    f"config/tls/{name}": name for name in ("cert.pem", "key.pem", "authority.pem", "authority-key.pem")
}
# How many of each kind stay; those that somebody asked for stay until somebody deletes them.
KEPT = {"daily": 7, "upgrade": 3, "update": 3, "restore": 3}
_NAME = re.compile(r"microblog-\d{8}T\d{6}Z-(\w+)\.tar\.gz")
# Beside the data themselves, which gzip makes some three times smaller.
_SPARE_BYTES = 32 * 2**20


class NothingThere(HostError):
    """The database is empty: there is nothing to back up."""


def backup(output: Path | None = None, kind: str = "manual") -> tuple[Path, dict[str, Any]]:
    """Write a backup.

    :param output: the file to write; in :data:`layout.BACKUPS`, named by time and kind, if not given.
    :param kind: ``manual``, or one of :data:`KEPT`, of which the oldest are then deleted.
    :return: the file, whole and on the disk; its manifest.
    :raises HostError: if it cannot be written or the database cannot be read; nothing of it stays.
    """
    privileges.require_root("make a backup", "sudo microblog backup")
    config = Config.load(layout.env_file())
    if output is None:
        try:
            layout.BACKUPS.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise HostError(
                f"no backup was made: {layout.BACKUPS}: {error.strerror}; it is no folder",
                "mend that, or choose another place with --output",
            ) from None
        output = layout.BACKUPS / f"microblog-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{kind}.tar.gz"
    output = output.absolute()
    partial = output.with_name(f".{output.name}.partial")
    try:
        _check_space(config.database_url, output.parent)
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            manifest = privileges.ask("no backup was made", _writing(config.database_url, file))
            files.sync(file)
        if not manifest:
            raise NothingThere("the database has no tables yet", "microblog setup makes them")
        files.replace(partial, output)
    except OSError as error:
        raise HostError(
            f"no backup was made: {error.filename or output}: {error.strerror}",
            "mend that, or choose another place with --output",
        ) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    prune(kind, output)
    return output, manifest


def _writing(url: str, file: BinaryIO) -> Callable[[], dict[str, Any]]:
    """The work of the application's user, whom alone the database lets in."""
    # Keys are root's to read.
    secrets = {ENV_MEMBER: layout.env_file().read_bytes()}
    for member, name in TLS_MEMBERS.items():
        if (path := layout.TLS / name).is_file():
            secrets[member] = path.read_bytes()
    began = time.time()

    def write() -> dict[str, Any]:
        import sqlalchemy as sa

        writer = archive.Writer(file)
        for name, data in secrets.items():
            writer.add(name, data)
        counts: dict[str, int] = {}
        with rows.connection(url, snapshot=True) as opened:
            if not sa.inspect(opened).has_table(rows.REVISIONS):
                return {}
            found = opened.exec_driver_sql(f"SELECT version_num FROM {rows.REVISIONS}")  # noqa: S608
            revisions = sorted(str(row[0]) for row in found)
            strangers = _strangers(opened, revisions)
            for table in rows.tables(opened, without=strangers):
                counts[table.name] = 0
                for number, (chunk, count) in enumerate(rows.dump(opened, table)):
                    writer.add(f"database/{table.name}/{number:06}.jsonl", chunk)
                    counts[table.name] += count
            kind = opened.dialect.name
        facts = {
            "version": microblog.__version__,
            "created": datetime.fromtimestamp(began, timezone.utc).isoformat(timespec="seconds"),
            "host": socket.gethostname(),
            "database": kind,
            "revisions": revisions,
            "rows": counts,
            "strangers": strangers,
        }
        manifest = writer.close(facts)
        file.flush()
        return manifest

    return write


def _strangers(opened: "sa.engine.Connection", revisions: list[str]) -> list[str]:
    """The tables of somebody else who shares the database: theirs to keep, and of any kind at all."""
    # Of a newer version's nobody knows here which are its own.
    if not set(revisions) <= schema.known(schema.migrations())[0]:
        return []
    return sorted(rows.table_names(opened) - aside.known_tables())


def listing() -> list[tuple[Path, str]]:
    """The backups in :data:`layout.BACKUPS` and their kinds, oldest first."""
    try:
        paths = sorted(layout.BACKUPS.iterdir())
    except OSError:
        return []
    return [(path, match[1]) for path in paths if (match := _NAME.fullmatch(path.name))]


def prune(kind: str, made: Path) -> None:
    """Delete the oldest backups of a kind that only so many are kept of.

    :param made: the one that was just made stays: by a clock that was set back it may be the oldest.
    """
    if kind in KEPT:
        others = [path for path, other in listing() if other == kind and path != made]
        for path in others[: max(0, len(others) - (KEPT[kind] - 1))]:
            path.unlink(missing_ok=True)


def _check_space(url: str, folder: Path) -> None:
    """:raises HostError: if the folder's disk has no room for a backup."""
    needed = kinds.of(url).size() // 2 + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise HostError(
            f"no backup was made: {folder} has {free // 2**20} MiB free, {needed // 2**20} MiB are needed",
            "delete something there, or choose another place with --output",
        )
