"""Whether the last backup can be restored: done, beside the site, every week.

The backup is fetched from where it would be fetched from, checked to its end, loaded into a second
database as a restore would, and read from there again: each table's number of rows and checksum must be
what the backup has. Then all of it is removed.
"""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microblog.config import Config
from microblog.errors import HostError
from microblog.host.backups import archive, backup, elsewhere, journal, restic, restore
from microblog.host.backups.progress import span
from microblog.host.database import rows, staging
from microblog.host.machine import layout, lock, privileges

EVERY_DAYS = 7
# When a missing drill is to be told.
OVERDUE_DAYS = 10
_DAY_SECONDS = 86400
# What a restore empties: it is of another time.
_FORGOTTEN = {"search_index", "search_changes"}
_MODULUS = 2**256


def due() -> bool:
    """Whether a week has passed since a backup was last seen to be good, or the last one was not."""
    known = journal.read()
    seconds: float = time.time() - known.get("drilled", {}).get("when", 0.0)
    return seconds > (EVERY_DAYS - 0.5) * _DAY_SECONDS or "drill" in known.get("failed", {})


def drill(say: Callable[[str], None]) -> dict[str, Any]:
    """Restore the newest backup beside the site, compare, and remove it again.

    :return: ``when``, ``source``, ``created`` and ``rows`` of what was seen to be good.
    :raises HostError: if it could not be restored.
    """
    privileges.require_root("try a backup", "sudo microblog backup --drill")
    began = time.monotonic()
    try:
        now = elsewhere.chosen()
        if now:
            with elsewhere.fetched(now.place, now.access, say) as (path, snapshot, digest):
                manifest = _compared(path, say, lambda: _see_same(snapshot, digest))
            elsewhere.tidy(now, say)
            source = now.place.address
        else:
            path = _newest()
            manifest, source = _compared(path, say, lambda: None), str(path)
    except HostError as error:
        journal.failed("drill", error)
        raise
    count = sum(manifest["rows"].values())
    facts = {"when": time.time(), "source": source, "created": manifest["created"], "rows": count}
    journal.done("drill", drilled=facts)
    say(
        f"The backup of {manifest['created']} is good: its {count} rows were restored beside the site, and"
        f" compared, in {span(time.monotonic() - began)}"
    )
    return facts


def _newest() -> Path:
    entries = backup.listing()
    if not entries:
        raise HostError("there is no backup to try", "microblog backup makes one")
    return max((path for path, _ in entries), key=lambda path: path.stat().st_mtime)


def _see_same(snapshot: restic.Snapshot, digest: str) -> None:
    """What came back is what was sent, if this machine has sent it."""
    sent = journal.read().get("sent", {})
    known = sent and snapshot.id.startswith(sent["snapshot"])
    if known and sent["sha256"] != digest:
        raise HostError(
            "what the repository gives back is not what was sent there",
            "begin another one elsewhere: microblog backup --to",
        )


def _compared(path: Path, say: Callable[[str], None], see: Callable[[], None]) -> dict[str, Any]:
    """:return: the backup's manifest."""
    with lock.sole(say):
        if layout.RESTORING.is_dir():
            raise HostError("a restore has not come to its end", "microblog setup goes on with it")
        see()
        with restore.staged(path, say) as (file, manifest, beside):
            config = Config.load(layout.env_file())
            same = manifest["database"] == ("sqlite" if config.database_url.startswith("sqlite") else "mysql")
            say("Comparing ...")
            wrong = privileges.ask(
                "the restored rows cannot be read",
                lambda: _different(_of_backup(file), _of_database(beside), contents=same),
            )
    if wrong:
        raise HostError(
            f"the backup cannot be trusted: restored, the table {wrong[0]} is not what it was",
            "microblog backup makes another; microblog doctor looks at this machine",
        )
    return manifest


# Of each table: how many rows, and the sum of their checksums, whatever their order.
Sums = dict[str, tuple[int, int]]


def _different(expected: Sums, found: Sums, *, contents: bool) -> list[str]:
    """The tables that differ. :param contents: not in their number of rows alone."""
    return sorted(
        name
        for name, (count, total) in expected.items()
        if name in found and (found[name][0] != count or (contents and found[name][1] != total))
    ) + sorted(name for name, (count, _) in expected.items() if count and name not in found)


def _of_backup(file: Any) -> Sums:
    sums: Sums = {}
    for name, data in archive.members(file):
        if name.startswith("database/"):
            _add(sums, data)
    return sums


def _of_database(beside: staging.Staging) -> Sums:
    sums: Sums = {}
    with rows.connection(beside.url, snapshot=True) as opened:
        for table in rows.tables(opened, beside.prefix):
            for chunk, _ in rows.dump(opened, table):
                _add(sums, chunk)
    return sums


def _add(sums: Sums, chunk: bytes) -> None:
    lines = chunk.decode().split("\n")[:-1]
    header = json.loads(lines[0])
    if header["table"] in _FORGOTTEN:
        return
    count, total = sums.get(header["table"], (0, 0))
    # Columns in an order of their own: a table that has grown has others than one that was made at once.
    order = sorted(range(len(header["columns"])), key=lambda at: str(header["columns"][at]))
    for line in lines[1:]:
        values = json.loads(line)
        text = json.dumps([values[at] for at in order])
        total = (total + int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")) % _MODULUS
        count += 1
    sums[header["table"]] = count, total
