"""The local database server's size, on a machine with little memory.

MariaDB and MySQL come set up for machines that serve nothing but them: with 512 MB, what they
set aside at their start leaves too little for the site.
"""

from collections.abc import Callable
from pathlib import Path

from microblog.host.database import kinds, server
from microblog.host.machine import files, services

# Folders of drop-ins, MariaDB's and MySQL's; each is read after conf.d, its files by their names
# (https://dev.mysql.com/doc/refman/8.0/en/option-files.html).
_FOLDERS = (Path("/etc/mysql/mariadb.conf.d"), Path("/etc/mysql/mysql.conf.d"), Path("/etc/mysql/conf.d"))
_NAME = "zz-microblog-memory.cnf"
# Where versions before 0.2 had it: what followed there overruled it.
_EARLIER = Path("/etc/mysql/conf.d/microblog-memory.cnf")
# Below this, in MiB, memory counts as short: a machine sold as "1 GB" shows some 960.
_SHORT_MIB = 1200
_SYSTEM = {"information_schema", "mysql", "performance_schema", "sys"}
_UNITS = ("mariadb.service", "mysql.service")


def total_mib() -> int:
    """This machine's memory (proc(5), meminfo)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def settings(memory_mib: int) -> str:
    """The drop-in for a machine of this size; empty where the server's own settings fit.

    Sizes are the servers' smallest useful ones, the buffer pool an eighth of the memory;
    "loose": what one of the two servers does not know, it skips.
    """
    if memory_mib >= _SHORT_MIB:
        return ""
    pool = max(24, memory_mib // 8 // 8 * 8)
    return (
        "# Written by 'microblog setup' for a machine with little memory. To change it, edit it:\n"
        "# what is there stays.\n"
        "[mysqld]\n"
        f"innodb_buffer_pool_size = {pool}M\n"
        "performance_schema = OFF\n"
        "max_connections = 40\n"
        "key_buffer_size = 1M\n"
        "table_open_cache = 200\n"
        "table_definition_cache = 400\n"
        "tmp_table_size = 4M\n"
        "max_heap_table_size = 4M\n"
        "loose_aria_pagecache_buffer_size = 4M\n"
        "loose_mysqlx = OFF\n"
    )


def fitting() -> str:
    """The drop-in for this machine; empty where the server's own settings fit."""
    return settings(total_mib())


def drop_in() -> "Path | None":
    """Where the server reads it last; None where there is no such folder."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    return folder / _NAME if folder else None


def ensure(url: str, say: Callable[[str], None]) -> bool:
    """Write the drop-in where it is needed, and have the server use it; else take it away.

    A server that other sites use too is theirs to size, and a drop-in that somebody has edited is theirs.

    :param url: ``DATABASE_URL``.
    :return: whether anything was changed.
    """
    database, path, text = kinds.of(url), drop_in(), fitting()
    if not isinstance(database, kinds.Mysql) or not database.ours or path is None:
        return False
    target = database.target
    there = [place for place in (path, _EARLIER) if place.exists()]
    old = there[0].read_text(encoding="utf-8", errors="replace") if there else ""
    if old == text and there in ([], [path]):
        return False
    # Of a machine of another size: a VPS that was resized, or an image of a smaller one.
    if there and not ours(old):
        return False
    if not there:
        with server.connect(target, say, as_root=True) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT schema_name FROM information_schema.schemata")
            others = {str(row[0]) for row in cursor.fetchall()} - _SYSTEM - {target.name}
            found = server.tables(connection, target.name)
        if others or (found and server.REVISIONS not in found):
            return False
    for place in there:
        place.unlink()
    if text:
        files.write(path, text, 0o644)
    for unit in _UNITS:
        if services.state(unit) == "active":
            say(f"Restarting {unit} with {'less' if text else 'its own'} memory ...")
            if services.control("restart", unit).returncode and text:
                # Better large than not at all.
                path.unlink()
                services.control("restart", unit)
                return False
    return True


def ours(text: str) -> bool:
    """Whether it is as this package writes it, for some machine."""
    return text in {settings(mib) for mib in range(0, _SHORT_MIB, 8)}
