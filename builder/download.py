"""Fetch a file: with progress, resumed where it broke off, believed only when its checksum is right."""

from pathlib import Path

import requests

from builder import cache
from builder.errors import BuildError
from builder.progress import Step, step

_TIMEOUT_SECONDS = (20, 60)  # to connect, and between two pieces
_ATTEMPTS = 4
_CHUNK = 1 << 16


def fetch(url: str, sha256: str, to: Path) -> None:
    """Download to a file.

    What came before an interruption is kept beside it as ``.part`` and resumed with an HTTP
    range request (RFC 9110, section 14).

    :param sha256: of the whole file, in hexadecimal.
    :raises BuildError: it can't be reached, there is no room, or the checksum differs (then
        nothing is kept).
    """
    part = to.with_name(f"{to.name}.part")
    with step(f"Downloading {url}", f"Downloaded {to.name}") as now:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                _resume(url, part, now)
                break
            except requests.RequestException as error:
                if attempt == _ATTEMPTS:
                    raise BuildError(
                        f"{url} can't be downloaded: {error}", "Run it again to resume"
                    ) from error
                now.update(f"attempt {attempt + 1} of {_ATTEMPTS}")
        found = cache.sha256_file(part)
    if found != sha256:
        part.unlink()
        raise BuildError(
            f"{url} has the checksum {found[:16]}..., not {sha256[:16]}... as its definition says",
            "Do not use it: it was changed on the way or at its source. Compare with the publisher's sums",
        )
    part.replace(to)


def _resume(url: str, part: Path, now: Step) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # it was complete already
        answer.raise_for_status()
        resumed = answer.status_code == requests.codes.partial_content
        have = have if resumed else 0
        total = have + int(answer.headers.get("Content-Length", 0))
        cache.need_space(part.parent, total - have, f"downloading {url}")
        with part.open("ab" if resumed else "wb") as out:
            for chunk in answer.iter_content(_CHUNK):
                out.write(chunk)
                have += len(chunk)
                now.update(f"{have / 1e6:.0f} of {total / 1e6:.0f} MB", have / total if total else None)
        if total and have < total:
            raise requests.ConnectionError(f"it ended after {have} of {total} bytes")
