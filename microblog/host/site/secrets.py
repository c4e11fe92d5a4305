"""Text that leaves root's hands, in a log's last lines, a page or a mail: with secrets taken out.

They are those that are kept on this machine, in whichever file; and what looks like one.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from dotenv import dotenv_values

from microblog.host.machine import layout, ledger
from microblog.printable import LINES, visible

GONE = "•••"
# The mail server's passwords, and what signs mail (``extras.postfix``); what certbot and restic look for
# themselves; a Pi's Wi-Fi (``card.boot``).
RELAY = Path("/etc/postfix/microblog-relay")
DKIM = Path("/etc/dkimkeys")
AWS = Path("/root/.aws/credentials")
WIFI = Path("/etc/netplan/60-microblog.yaml")
NETWORK_MANAGER = Path("/etc/NetworkManager/system-connections/microblog.nmconnection")
_SETTINGS = ("SECRET_KEY", "MAIL_PASSWORD", "MS_TRANSLATOR_KEY", "METRICS_TOKEN")
_URLS = ("DATABASE_URL", "ELASTICSEARCH_URL")
_NAMED = re.compile(r"(?i)key|secret|token|password|words|psk")
_LONGEST = 64 * 1024
# A short one would take words out of everything.
_LEAST = 4
# Pages whose addresses are secrets, by what stands before these.
LINKS = ("reset", "confirm", "join", "unsubscribe", "seen")
# And passwords in URLs, headers and settings.
_PATTERNS = (
    re.compile("|".join(rf"(?<=/{page}/)[^\s\"/?]+" for page in LINKS)),
    # A user without a colon: what visitors have written into a log is read in one go.
    re.compile(r"(?<=://)[^\s/@:]*:[^\s/]+(?=@)"),
    re.compile(r"(?i)(?<=authorization: )\S.*|(?<=cookie: )\S.*"),
    re.compile(r"(?i)(?<=password=)[^\s&]+|(?<=secret_key=)\S+|(?<=token=)[^\s&]+|(?<=secret=)[^\s&]+"),
    *(re.compile(f"(?<=BEGIN {kind}PRIVATE KEY-----)[^-]+") for kind in ("", "RSA ", "EC ", "OPENSSH ")),
)


def clean(text: str) -> str:
    """Without what this machine keeps secret, and without links that are."""
    return _clean(text, _known())


def clean_of_settings(text: str) -> str:
    """The same of what the application, or a visitor, may have written: of the secrets that are kept, those
    that the application knows. Of others it could try there whether a word is one, by what is taken out."""
    return _clean(text, set(_settings()))


def cleaned(found: Any) -> Any:
    """All texts in what JSON can hold, each as :func:`clean` has it; names stay."""
    known = _known()

    def walk(one: Any) -> Any:
        if isinstance(one, str):
            return _clean(one, known)
        if isinstance(one, Mapping):
            return {name: walk(value) for name, value in one.items()}
        return [walk(value) for value in one] if isinstance(one, (list, tuple)) else one

    return walk(found)


def without(text: str, secrets: Iterable[str], gone: str = GONE) -> str:
    """A text without some secrets, in whatever form they are written there."""
    every = {form for secret in secrets for form in _forms(secret)}
    # What is part of a longer one comes after it.
    for form in sorted((form for form in every if len(form) >= _LEAST), key=len, reverse=True):
        text = text.replace(form, gone)
    return text


def named(name: str) -> bool:
    """Whether what has this name, in settings, a form or a file, is a secret."""
    return bool(_NAMED.search(name))


def _clean(text: str, known: Iterable[str]) -> str:
    text = without(text, known)
    for pattern in _PATTERNS:
        text = pattern.sub(GONE, text)
    # No control characters but the lines' ends.
    return visible(text, LINES)


def _forms(secret: str) -> set[str]:
    quoted = {quote(secret), quote(secret, safe=""), quote_plus(secret), unquote(secret)}
    return {secret, *quoted, *(json.dumps(secret, ensure_ascii=ascii)[1:-1] for ascii in (True, False))}


def _known() -> set[str]:
    """All that is kept on this machine."""
    found = set(_settings())
    with suppress(OSError, KeyError, TypeError):
        found.update(_lines_before())
    for path, read in _places():
        # And what was in its place before ('microblog mail', 'https').
        for one in (path, *ledger.FOLDER.glob(f"*-{path.name}")):
            # Whoever has damaged it, its neighbours are read.
            with suppress(OSError, ValueError, RecursionError, AttributeError):
                found.update(read(_text(one)))
    return found


def _settings() -> Iterator[str]:
    try:
        values = dotenv_values(layout.env_file(), interpolate=False)
    except (OSError, UnicodeDecodeError):
        return
    for name in _SETTINGS:
        yield values.get(name) or ""
    for name in _URLS:
        with suppress(ValueError):
            yield urlsplit(values.get(name) or "").password or ""


def _lines_before() -> Iterator[str]:
    """Of settings that are to be put back ('microblog mail')."""
    for entry in ledger.entries():
        if entry["kind"] == "line":
            values = dotenv_values(stream=io.StringIO(entry["before"] or ""), interpolate=False)
            yield from (value or "" for name, value in values.items() if name in _SETTINGS)


def _places() -> "Iterator[tuple[Path, Callable[[str], Iterable[str]]]]":
    elsewhere = layout.ETC / "elsewhere"
    yield elsewhere / "key", _words
    yield elsewhere / "where.json", _objects
    yield layout.ETC / "first-admin.json", _objects
    yield WIFI, _objects
    for path in sorted((layout.ETC / "dns").glob("*")):
        yield path, _objects if path.suffix == ".json" else _lines
    yield AWS, _lines
    yield NETWORK_MANAGER, _lines
    yield RELAY, _relay
    for path in (elsewhere / "ssh_key", *layout.TLS.glob("*key.pem"), *DKIM.glob("*.private")):
        yield path, _key


def _text(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_LONGEST)


def _words(text: str) -> list[str]:
    """A repository's key, as it is kept and as it is typed."""
    return [text.strip(), text.strip().replace("-", " ")]


def _objects(text: str) -> Iterator[str]:
    """JSON: what is under a name of a secret, however deep."""

    def walk(one: Any, secret: bool) -> Iterator[str]:
        if isinstance(one, dict):
            for name, value in one.items():
                yield from walk(value, secret or named(name))
        elif isinstance(one, list):
            for value in one:
                yield from walk(value, secret)
        elif secret and isinstance(one, str):
            # A key of several lines is told line by line.
            yield from (one, *(_key(one) if "\n" in one else ()))

    return walk(json.loads(text), False)


def _lines(text: str) -> Iterator[str]:
    """Lines of NAME = VALUE: quoted or not, with a remark behind it or not."""
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if not sign or not named(name):
            continue
        for one in (value.strip(), value.partition(" #")[0].strip()):
            yield from (one, one.strip("\"'"))
            # NetworkManager's own signs.
            yield one.replace("\\s", " ").replace("\\\\", "\\")


def _relay(text: str) -> Iterator[str]:
    """Postfix's table: ``[HOST]:PORT USER:PASSWORD``."""
    for line in text.splitlines():
        yield line.partition(" ")[2].partition(":")[2]


def _key(text: str) -> list[str]:
    """A private key's lines; its last one may be short, and then tells nothing."""
    return [line for line in text.splitlines() if len(line) >= 20 and not line.startswith("-")]
