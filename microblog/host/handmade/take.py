"""``microblog import``: the accounts, followers and posts of a deployment by hand, here.

What is read becomes a backup of ours, which is then restored: beside the site first, all of it or nothing,
the present state kept, an interruption completed or of no effect. The old site is only read.
"""

import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import microblog
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.backups import archive, restore
from microblog.host.database import rows, schema, server
from microblog.host.handmade import convert, found, read
from microblog.host.machine import files, layout, lock, privileges
from microblog.host.site import envfile, nginx
from microblog.host.updates import journal

REPORT = layout.LOGS / "import.log"
_SHOWN = 20
_CHUNK_ROWS = 5000


@dataclass(frozen=True)
class Taken:
    """:ivar counts: rows, by our tables.
    :ivar remarks: a line for each row that is not as it was.
    :ivar left: what has no place here.
    """

    counts: dict[str, int]
    remarks: list[str]
    left: list[str]

    def lines(self) -> list[str]:
        """It, in a few lines."""
        told = ", ".join(f"{count} {table}" for table, count in self.counts.items())
        lines = [f"Taken: {told}", *self.remarks[:_SHOWN]]
        if len(self.remarks) > _SHOWN:
            lines.append(f"and {len(self.remarks) - _SHOWN} more like these")
        return lines + (
            [f"Not taken, for there is no such thing here: {', '.join(self.left)}"] if self.left else []
        )


def look(told: str) -> Taken:
    """What :func:`take` would take; changes nothing."""
    privileges.require_root("take another site over", "sudo microblog import")
    with Path(os.devnull).open("wb") as nowhere:
        return _write(found.source(told), nowhere)


def take(told: str, say: Callable[[str], None], *, replace: bool = False) -> Taken:
    """Put the old site's accounts, followers and posts in the place of this site's.

    :param told: where the old database is, as :func:`found.source` has it.
    :param replace: go on where there are accounts here; they are backed up first.
    :raises HostError: nothing is changed then, here or there.
    """
    privileges.require_root("take another site over", "sudo microblog import")
    journal.see_none("nothing is taken over")
    old = found.source(told)
    os.umask(0o022)
    with lock.sole(say):
        # Read first: what cannot be read changes nothing.
        path = layout.BACKUPS / f"microblog-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-import.tar.gz"
        layout.BACKUPS.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        try:
            with os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                say("Reading the old site's accounts and posts ...")
                taken = _write(old, file)
                files.sync(file)
            _prepare(say)
            _refuse_accounts(replace)
            files.replace(partial, path)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        files.write(REPORT, "".join(f"{line}\n" for line in taken.remarks), 0o640)
    restore.restore(path, say)
    return taken


def farewell(say: Callable[[str], None], taken: Taken, told: str) -> None:
    """Say what was taken, and how the old site is retired.

    :param told: as for :func:`take`.
    """
    for line in taken.lines():
        say(line)
    if taken.remarks:
        say(f"All of this is in {REPORT}")
    say("Passwords are the same. 'microblog user promote NAME' makes somebody an administrator")
    deployment = found.look()
    if deployment is None:
        return
    if deployment.programs or deployment.sites:
        say("The old site was not touched, and goes on: what is written there from now on is not here.")
        say("To put this one in its place:")
        again = f"microblog import --replace {'SOURCE' if '://' in told else told}".strip()
        for line in deployment.retiring(again):
            say(f"  {line}")
    folder = deployment.folder or "its folder"
    say(f"When nobody misses anything any more, delete {folder} and its database, and drop that one's user")


def _write(old: str, file: Any) -> Taken:
    """Write the old site as a backup of ours."""
    remarks: list[str] = []
    writer, counts = archive.Writer(file), {}
    with read.opened(old) as site:
        work = convert.Conversion(
            remarks.append, datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
        )
        tables = (
            (
                "users",
                convert.USER_COLUMNS,
                work.users(site.rows("user"), convert.first_posts(site.rows("post"))),
            ),
            ("posts", convert.POST_COLUMNS, work.posts(site.rows("post"))),
            ("follows", convert.FOLLOW_COLUMNS, work.follows(site.rows("followers"))),
        )
        for table, columns, converted in tables:
            counts[table] = 0
            for number, (chunk, count) in enumerate(_chunks(table, columns, converted)):
                writer.add(f"database/{table}/{number:06}.jsonl", chunk)
                counts[table] += count
        left = site.left()
    writer.close(
        {
            "version": microblog.__version__,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "host": socket.gethostname(),
            "database": old.partition(":")[0],
            "revisions": [convert.REVISION],
            "rows": counts,
        }
    )
    return Taken(counts, remarks, left)


def _chunks(
    table: str, columns: tuple[str, ...], converted: Iterator[list[Any]]
) -> Iterator[tuple[bytes, int]]:
    """As :func:`rows.dump` writes them; at least one."""
    header = json.dumps({"table": table, "columns": columns})
    lines = [header]
    for row in converted:
        lines.append(json.dumps(row, ensure_ascii=False))
        if len(lines) > _CHUNK_ROWS:
            yield _packed(lines), len(lines) - 1
            lines = [header]
    yield _packed(lines), len(lines) - 1


def _packed(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _refuse_accounts(replace: bool) -> None:
    """:raises HostError: somebody has an account here already, and nobody said that they may go."""
    url = Config.load(layout.env_file()).database_url

    def count() -> int:
        with rows.connection(url, snapshot=True) as opened:
            return int(opened.exec_driver_sql("SELECT COUNT(*) FROM users").scalar() or 0)

    here = privileges.ask("this site's accounts cannot be counted", count)
    if here and not replace:
        raise HostError(
            f"this site has {here} accounts already: nothing was changed",
            "microblog import --replace backs them up with their posts, and puts the old ones in their place",
        )


def _prepare(say: Callable[[str], None]) -> None:
    """What setup has not done where it found a deployment by hand in its way: settings and a database."""
    layout.make_directories()
    path = layout.env_file()
    envfile.complete(path, server.default_url(), proxied=nginx.installed())
    url = Config.load(path).database_url
    if url == server.default_url() and (beside := _beside(url, say)):
        envfile.change(path, {"DATABASE_URL": beside})
        url = beside
    schema.ensure(url, say)


def _beside(url: str, say: Callable[[str], None]) -> str:
    """A database beside the usual one, where the old site has that one's name, or its user's.

    :return: its URL; empty where the usual one is free, or ours already.
    """
    target = server.Target.parse(url)
    if target is None or not target.ours:
        return ""
    with server.connect(target, say, as_root=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT plugin FROM mysql.user WHERE user = %s AND host = 'localhost'", (target.user,))
        user = cursor.fetchone()
        user_is_theirs = bool(user) and str(user[0]) not in ("unix_socket", "auth_socket")
        revisions = server.revisions(connection, target)
        database_is_theirs = not revisions <= schema.known(schema.migrations())[0] or (
            not revisions and bool(server.tables(connection, target.name))
        )
        if not user_is_theirs and not database_is_theirs:
            return ""
        name = f"{target.name}_site"
        say(f"The old site has the database's name or user: this one's database is {name}")
        if not user_is_theirs:
            return url.replace(f"/{target.name}?", f"/{name}?")
        server.refuse_strangers(f"the database {name}", server.tables(connection, name))
        # Without the user whom the socket lets in, there has to be a password: one that servers take, too,
        # that ask for letters of both kinds, a digit and a sign (validate_password, simple_password_check).
        password = f"{secrets.token_urlsafe(24)}-aA1"
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        cursor.execute(f"CREATE USER IF NOT EXISTS '{name}'@'localhost' IDENTIFIED BY %s", (password,))
        cursor.execute(f"ALTER USER '{name}'@'localhost' IDENTIFIED BY %s", (password,))
        # And beside it what a restore makes.
        pattern = name.replace("_", "\\_")
        cursor.execute(f"GRANT ALL PRIVILEGES ON `{pattern}%`.* TO '{name}'@'localhost'")
        return f"mysql+pymysql://{name}:{password}@localhost/{name}?unix_socket={target.socket}"
