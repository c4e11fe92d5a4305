"""Put the apt repository where machines read it: a bucket that speaks S3, or a server, by rsync.

New packages go first, then the lists, then what signs them; what nobody lists any more goes last. Whoever
reads meanwhile finds the old repository or the new one.
"""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.progress import step
from builder.deb import repository

# What is deleted in, where nobody lists it any more.
OURS = (repository.POOL, f"dists/{repository.SUITE}")
_S3 = "s3://"
_TYPES = {".deb": "application/vnd.debian.binary-package", ".gz": "application/gzip"}
# What signs the lists is of one moment with them: nobody in between keeps it.
_FRESH = "no-cache"


def look_at(where: str | None) -> None:
    """See that a place is one, before a package is made for it.

    :raises BuildError: nothing can be put there.
    """
    if where is None:
        return
    scheme, sign, rest = where.partition("://")
    # Of a path, and of HOST:/FOLDER, rsync itself knows.
    known = scheme in ("s3", "rsync") and not rest.startswith("/") if sign else not where.startswith("-")
    if not known or not (rest if sign else where):
        raise BuildError(
            f"{where!r} is no place that a repository can be put to",
            "Name s3://BUCKET[/PREFIX], or what rsync takes: HOST:/FOLDER, rsync://HOST/MODULE, a folder",
        )


def publish(folder: Path, where: str) -> None:
    """Make a place hold what a repository holds.

    :param where: ``s3://BUCKET[/PREFIX]``, by the keys that are in the environment (``AWS_ENDPOINT_URL``
        names another service than Amazon's); else what rsync takes: ``HOST:/FOLDER``, ``rsync://HOST/MODULE``
        or a folder.
    :raises BuildError: it is not to be reached, or refuses.
    """
    with step(f"Publishing to {where}", f"Published to {where}"):
        if where.startswith(_S3):
            _to_bucket(folder, where.removeprefix(_S3))
        else:
            _by_rsync(folder, where)


def _files(folder: Path) -> Iterator[Path]:
    """In the order in which they have to be there."""
    for name in repository.PUBLISHED:
        found = folder / name
        paths = [found] if found.is_file() else [path for path in found.rglob("*") if path.is_file()]
        shown = [path for path in paths if not path.name.startswith(".")]
        # Lists before what signs them: InRelease is last.
        yield from sorted(shown, key=lambda path: ("Release" in path.name, path.name == "InRelease", path))


def _to_bucket(folder: Path, where: str) -> None:
    # Not everybody who builds has, or needs, it.
    from botocore.exceptions import BotoCoreError, ClientError

    from builder.ship import bucket

    name, _, prefix = where.partition("/")
    prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    try:
        store = bucket.client("s3", None)
        there = dict(_listed(store, name, prefix))
        wanted = {f"{prefix}{path.relative_to(folder)}": path for path in _files(folder)}
        for key, path in wanted.items():
            data = path.read_bytes()
            if there.get(key) == hashlib.md5(data, usedforsecurity=False).hexdigest():
                continue
            kind = _TYPES.get(path.suffix, "text/plain; charset=utf-8")
            fresh = {} if path.suffix == ".deb" else {"CacheControl": _FRESH}
            store.put_object(Bucket=name, Key=key, Body=data, ContentType=kind, **fresh)
        ours = tuple(f"{prefix}{part}/" for part in OURS)
        for key in there:
            if key.startswith(ours) and key not in wanted:
                store.delete_object(Bucket=name, Key=key)
    except (BotoCoreError, ClientError) as error:
        raise bucket.refusal(f"the bucket {name}", error) from error


def _listed(store: Any, name: str, prefix: str) -> Iterator[tuple[str, str]]:
    """What is there, and the checksum of each: MD5, of what was put there at once."""
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=prefix):
        for entry in page.get("Contents", ()):
            yield entry["Key"], entry["ETag"].strip('"')


def _by_rsync(folder: Path, where: str) -> None:
    rsync = [program("rsync", "rsync"), "--recursive", "--times", "--delay-updates", "--exclude=.*"]
    target = f"{where.rstrip('/')}/"
    packages, lists = ([str(folder / part)] for part in ("pool", "dists"))
    rest = [str(folder / name) for name in (repository.KEY_FILE, repository.SOURCES_FILE)]
    # Beside ours there may be packages of others, and suites.
    ours = [f"{folder}/./{part}" for part in OURS]
    for arguments in (packages, [*lists, *rest], ["--delete-after", "--relative", *ours]):
        done = subprocess.run(
            [*rsync, *arguments, target],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()[:1] or [f"exit code {done.returncode}"]
            raise BuildError(
                f"rsync failed: {said[0]}", f"rsync has to reach {where}, by SSH without a question"
            )
