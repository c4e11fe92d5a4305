"""An account as JSON, in pieces: it may hold any number of posts."""

import json
from collections.abc import Iterator
from typing import Any

from flask import stream_with_context

from microblog.models import User
from microblog.models.account import export_account


def as_json(user: User) -> Iterator[str]:
    """One object, a line for each post and each person."""
    pieces: Iterator[str] = stream_with_context(_pieces(user))
    return pieces


def _pieces(user: User) -> Iterator[str]:
    start = "{\n"
    for name, value in export_account(user):
        yield f"{start}{_dump(name)}: "
        if isinstance(value, Iterator):
            yield from _list(value)
        else:
            yield _dump(value)
        start = ",\n"
    yield "\n}\n"


def _list(values: Iterator[Any]) -> Iterator[str]:
    start = "[\n"
    for value in values:
        yield f"{start}{_dump(value)}"
        start = ",\n"
    yield "[]" if start == "[\n" else "\n]"


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
