"""Calls of a JSON API over HTTPS: what it says when it refuses, and when it is worth asking again."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
import urllib3.exceptions

from builder.core.errors import BuildError, Lost
from builder.core.progress import say, step
from builder.ship import cloud

TIMEOUT_SECONDS = (10, 120)
PAUSE_SECONDS = 2.0
"""Before the second attempt; doubled before each one after that."""
_ATTEMPTS = 5
_LONGEST_PAUSE = 60.0
_CHUNK = 1 << 20
_REPEATABLE = ("GET", "PUT", "DELETE")
_UNKNOWN_OUTCOME = 500
"""From this status on, it may have been done all the same."""


class Api:
    """One provider's API, with the user's token."""

    def __init__(self, base: str, token: str, variable: str, dry: bool) -> None:
        """:param variable: the environment's variable that the token is from. :param dry: only show calls."""
        self._base, self._variable, self._dry = base, variable, dry
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def call(
        self, method: str, path: str, body: object = None, example: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Make one call.

        What can safely be done twice is tried again where the server fails; everything is where it
        asks to come back later (429).

        :param example: what is returned when calls are only shown.
        :return: its answer; None for 404.
        :raises BuildError: it refuses, or can't be reached.
        :raises Lost: what can't safely be done twice may have been done.
        """
        url = f"{self._base}{path}"
        if self._dry:
            cloud.shown(f"{method} {url}", body)
            return example or {}
        pause = PAUSE_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS
            try:
                answer = self._session.request(method, url, json=body, timeout=TIMEOUT_SECONDS)
            except requests.RequestException as error:
                if last or method not in _REPEATABLE:
                    kind = Lost if method not in _REPEATABLE and _was_sent(error) else BuildError
                    raise kind(
                        f"{self._base} can't be reached: {type(error).__name__}", "Is the network there?"
                    ) from error
            else:
                if answer.status_code == 404:
                    return None
                if answer.ok:
                    return _json(answer)
                later = answer.status_code == 429 or (answer.status_code >= 500 and method in _REPEATABLE)
                if last or not later:
                    raise self._refusal(method, path, answer)
                asked = answer.headers.get("Retry-After", "")
                pause = max(pause, float(asked)) if asked.isdigit() else pause
                say(f"{self._base} answers {answer.status_code}; again in {pause:.0f} s")
            time.sleep(min(pause, _LONGEST_PAUSE))
            pause *= 2
        raise AssertionError

    def listed(self, path: str, kind: str, size: int) -> Iterator[dict[str, Any]]:
        """What is in the account, page by page.

        :param path: with ``{}`` for the page's number.
        :param kind: under which name an answer has the rows.
        :param size: of a page.
        """
        for number in itertools.count(1):
            rows = (self.call("GET", path.format(number)) or {}).get(kind, [])
            yield from rows
            if len(rows) < size:
                return

    def _refusal(self, method: str, path: str, answer: requests.Response) -> BuildError:
        said = _message(_json(answer))
        if answer.status_code in (401, 403):
            return BuildError(
                f"the provider does not accept the token in {self._variable}: {said}",
                "Make one in its control panel that may read and write images",
            )
        unknown = method not in _REPEATABLE and answer.status_code >= _UNKNOWN_OUTCOME
        return (Lost if unknown else BuildError)(
            f"{method} {path} was refused ({answer.status_code}): {said}", "See docs/publish.md"
        )


def _was_sent(error: requests.RequestException) -> bool:
    """Whether a call that was not answered may have arrived."""
    cause = getattr(error.args[0], "reason", None) if error.args else None
    never = isinstance(cause, urllib3.exceptions.NewConnectionError | urllib3.exceptions.SSLError)
    return not (never or isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError))


def put(url: str, file: Path, dry: bool) -> None:
    """Upload a file to an address that was given for it.

    :raises BuildError: it can't be, after some attempts.
    """
    if dry:
        cloud.shown(f"PUT {url} < {file.name}")
        return
    size = file.stat().st_size
    with step(f"Uploading {file.name}", f"Uploaded {file.name}") as now:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with file.open("rb") as stream:

                    def pieces(stream: Any = stream) -> Any:
                        sent = 0
                        while chunk := stream.read(_CHUNK):
                            yield chunk
                            sent += len(chunk)
                            now.update(f"{sent / 1e6:.0f} of {size / 1e6:.0f} MB", sent / size)

                    # With its length: an object store does not take a body of unknown length.
                    answer = requests.put(
                        url,
                        data=_Sized(pieces(), size),
                        headers={"Content-Type": "application/octet-stream"},
                        timeout=TIMEOUT_SECONDS,
                    )
                answer.raise_for_status()
                return
            except requests.RequestException as error:
                code = error.response.status_code if error.response is not None else 0
                if attempt == _ATTEMPTS or 400 <= code < 500:
                    raise BuildError(
                        f"{file.name} can't be uploaded: {code or type(error).__name__}", "Run it again"
                    ) from error
                time.sleep(PAUSE_SECONDS * attempt)


class _Sized:
    """An iterable with a length, which requests sends as Content-Length."""

    def __init__(self, pieces: Any, size: int) -> None:
        self._pieces, self._size = pieces, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Any:
        return self._pieces


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _message(answer: dict[str, Any]) -> str:
    """DigitalOcean says ``{"message": ...}``, Linode ``{"errors": [{"reason": ..., "field": ...}]}``."""
    errors = answer.get("errors")
    if isinstance(errors, list) and errors:
        return "; ".join(" ".join(filter(None, (e.get("field"), e.get("reason")))) for e in errors)
    return str(answer.get("message") or "it says nothing more")
