"""The local database server's size, on a machine with little memory.

MariaDB and MySQL come set up for machines that serve nothing but them: with 512 MB, what they
set aside at their start leaves too little for the site.
"""

from collections.abc import Callable
from pathlib import Path

from microblog.host.database import server
from microblog.host.machine import files, services

# Read by both, after their own settings (https://dev.mysql.com/doc/refman/8.0/en/option-files.html).
DROP_IN = Path("/etc/mysql/conf.d/microblog-memory.cnf")
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


def ensure(url: str, say: Callable[[str], None]) -> bool:
    """Write the drop-in where it is needed, and have the server use it.

    A server that other sites use too is theirs to size.

    :param url: ``DATABASE_URL``.
    :return: whether it was written.
    """
    target = server.Target.parse(url)
    text = settings(total_mib())
    if target is None or not target.ours or not text or DROP_IN.exists() or not DROP_IN.parent.is_dir():
        return False
    with server.connect(target, say, as_root=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT schema_name FROM information_schema.schemata")
        others = {str(row[0]) for row in cursor.fetchall()} - _SYSTEM - {target.name}
    if others:
        return False
    files.write(DROP_IN, text, 0o644)
    for unit in _UNITS:
        if services.state(unit) == "active":
            say(f"Restarting {unit} with less memory ...")
            if services.control("restart", unit).returncode:
                # Better large than not at all.
                DROP_IN.unlink()
                services.control("restart", unit)
                return False
    return True
