"""Fetch files over HTTP: with progress, resumed where it broke off, never from https to http.

Proxies and authorities are what requests takes from the environment: HTTPS_PROXY, NO_PROXY,
REQUESTS_CA_BUNDLE. MICROBLOG_MIRRORS replaces the beginnings of addresses.
"""

import errno
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin

import requests
import urllib3.exceptions

from builder.core import cache
from builder.core.errors import BuildError, NotThere
from builder.core.mirrors import mirrored
from builder.core.progress import Step, say, step

CONNECT_SECONDS = 6.0
"""For a server to answer at all: the next base in a list is not kept waiting for."""
READ_SECONDS = 60.0
"""Between two pieces."""
BACKOFF_SECONDS = 1.0
"""Before the second attempt; doubled before each one after that."""
_ATTEMPTS = 4
_CHUNK = 1 << 16
_SMALL = 4 << 20
_WORTH_ANOTHER_ATTEMPT = frozenset({408, 425, 429, 500, 502, 503, 504})
_NOT_THERE = frozenset({404, 410})
_DATE = "{date}"
_OBJECTS = re.compile(r"<?[\w.]+(\([^)]*\))?( object at 0x\w+)?>?: (?=[A-Z])")
_Result = TypeVar("_Result")


class _Session(requests.Session):
    """Follows redirects, but not out of TLS."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and resp.url.startswith("https:") and not urljoin(resp.url, target).startswith("https:"):
            raise BuildError(
                f"{resp.url} leads to {urljoin(resp.url, target)}, where anybody could change it on its way",
                "Name another server in MICROBLOG_MIRRORS",
            )
        return target


def dated(url: str) -> list[str]:
    """The dated addresses that an address of the latest stands for, the newest first.

    Either it holds ``{date}`` in the name of a directory (and maybe again behind it), and the listing of
    that directory's parent has the dates; or its server redirects it to the one that there is.

    :raises BuildError: it can't be reached, or there is none.
    """
    url = mirrored(url)
    if _DATE not in url:
        return [_attempts(url, lambda: _final(url))]
    before = url.partition(_DATE)[0]
    parent, _, stem = before.rpartition("/")
    listing = small(f"{parent}/").decode(errors="replace")
    dates = re.findall(rf'href="(?:[^"]*/)?{re.escape(stem)}(\d{{8}}(?:[.-]\d+)?)/?"', listing)
    if not dates:
        raise BuildError(
            f"{parent}/ lists no {stem}YYYYMMDD", "Did the publisher move it? See its definition"
        )
    dates = sorted(set(dates), key=lambda text: [int(part) for part in re.split("[.-]", text)], reverse=True)
    return [url.replace(_DATE, date) for date in dates]


def small(url: str) -> bytes:
    """The content of a small file.

    :raises BuildError: it can't be had, or it is not small.
    """
    return _attempts(mirrored(url), lambda: _small(mirrored(url)))


def fetch(url: str, to: Path) -> None:
    """Download to a file. It is for the caller to find out whether it is the right one.

    What came before an interruption is kept beside it as ``.part`` and resumed with an HTTP
    range request (RFC 9110, section 14).

    :raises BuildError: it can't be reached, or there is no room.
    """
    url = mirrored(url)
    part = to.with_name(f"{to.name}.part")
    with step(f"Downloading {url}", f"Downloaded {to.name}") as now:
        _attempts(url, lambda: _resume(url, part, now), "Run it again to resume")
    part.replace(to)


def _attempts(url: str, work: Callable[[], _Result], hint: str = "Is the network there?") -> _Result:
    """Do it again, a little later each time, where that can help."""
    wait = BACKOFF_SECONDS
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return work()
        except requests.RequestException as error:
            if attempt == _ATTEMPTS or not _may_pass(error):
                answer = error.response.status_code if error.response is not None else None
                kind = NotThere if answer in _NOT_THERE else BuildError
                raise kind(f"{url} can't be downloaded: {_reason(error)}", hint) from error
            say(f"{url}: {_reason(error)}; attempt {attempt + 1} of {_ATTEMPTS} in {wait:.0f} s")
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise BuildError(
                f"the disk is full: {url} does not fit", "Free some space; what came is kept"
            ) from error
        time.sleep(wait)
        wait *= 2
    raise AssertionError


def _may_pass(error: requests.RequestException) -> bool:
    """Whether it can be another outcome next time. No name, no route, no trust: those stay."""
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in _WORTH_ANOTHER_ATTEMPT
    if isinstance(
        error, requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.ProxyError
    ):
        return False
    cause = getattr(error.args[0], "reason", None) if error.args else None
    unreachable = isinstance(cause, urllib3.exceptions.NewConnectionError)
    return isinstance(error, requests.ConnectionError | requests.Timeout
                      | requests.exceptions.ChunkedEncodingError) and not unreachable  # fmt: skip


def _reason(error: requests.RequestException) -> str:
    """In a few words, without the addresses of objects that urllib3 prints."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"it answers {error.response.status_code} {error.response.reason}".rstrip()
    cause = getattr(error.args[0], "reason", None) if error.args else None
    proxy = "through its proxy: " if isinstance(error, requests.exceptions.ProxyError) else ""
    return proxy + _OBJECTS.sub("", str(cause or error))[:200]


def _get(url: str, headers: dict[str, str] | None = None) -> requests.Response:
    # Bytes as they are: an image is not to be unpacked on its way.
    answer = _Session().get(
        url,
        headers={"Accept-Encoding": "identity", **(headers or {})},
        stream=True,
        timeout=(CONNECT_SECONDS, READ_SECONDS),
    )
    if answer.status_code != requests.codes.requested_range_not_satisfiable:
        answer.raise_for_status()
    return answer


def _final(url: str) -> str:
    with _get(url, {"Range": "bytes=0-0"}) as answer:
        return answer.url


def _small(url: str) -> bytes:
    with _get(url) as answer:
        content = b""
        for chunk in answer.iter_content(_CHUNK):
            content += chunk
            if len(content) > _SMALL:
                raise BuildError(f"{url} is far longer than it can be", "Is it the right address?")
        return content


def _resume(url: str, part: Path, now: Step) -> None:
    have = part.stat().st_size if part.exists() else 0
    with _get(url, {"Range": f"bytes={have}-"} if have else {}) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # it was complete already
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
