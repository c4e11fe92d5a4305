"""What a program has sent: in the address, as a form, or as JSON, whichever it likes."""

from typing import Any

from flask import g, request

from microblog.models.paging import ID_MAX

_TRUE, _FALSE = {"1", "t", "true", "on", "yes"}, {"0", "f", "false", "off", "no", ""}
# Values of a list that are read.
_MOST = 100


def _json() -> dict[str, Any]:
    if "sent" not in g:
        try:
            body = request.get_json(silent=True) if request.is_json else None
        except RecursionError:
            # Python's parser goes as deep as what it is given.
            body = None
        g.sent = body if isinstance(body, dict) else {}
    sent: dict[str, Any] = g.sent
    return sent


def has(name: str) -> bool:
    """Whether this was sent, be it empty."""
    return name in _json() or name in request.values


def text(name: str, most: int = 10_000) -> str:
    """A value as text; empty if there is none. Only what every database can store.

    :param most: characters of which the rest is cut off.
    """
    value = _json().get(name)
    if value is None:
        value = request.values.get(name, "")
    if isinstance(value, bool):
        value = "true" if value else "false"
    return _storable(value)[:most] if isinstance(value, str | int | float) else ""


def texts(name: str) -> list[str]:
    """The values of a list: ``name[]`` some times, ``name`` some times, or a list."""
    value = _json().get(name)
    if value is None:
        value = request.values.getlist(f"{name}[]") or request.values.getlist(name)
    if not isinstance(value, list):
        value = [value]
    return [
        _storable(one) for one in value[:_MOST] if isinstance(one, str | int) and not isinstance(one, bool)
    ]


def inner(name: str, key: str) -> str:
    """A text within an object; empty if there is none."""
    value = _json().get(name)
    found = value.get(key) if isinstance(value, dict) else None
    return _storable(found) if isinstance(found, str | int) else ""


def flag(name: str, default: bool = False) -> bool:
    value = text(name, 10).lower()
    return True if value in _TRUE else False if value in _FALSE and has(name) else default


def number(name: str) -> int | None:
    """A row's number, or another that is not negative; None if there is none such."""
    return as_number(text(name, 30))


def as_number(value: str) -> int | None:
    if not (value.isascii() and value.isdigit() and len(value) <= 19):
        return None
    found = int(value)
    return found if found <= ID_MAX else None


def _storable(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode().replace("\0", "")
