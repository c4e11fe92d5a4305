"""What who calls may see of whom: nobody is shown who blocks them, or whom they keep away."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import abort

from microblog.models import Reader, barriers
from microblog.models.people import PersonRow, person

Row = TypeVar("Row")


def somebody(number: int, reader: Reader, blocked: bool = False) -> PersonRow:
    """The account with this number, if it is there for them.

    :param blocked: whether it is there for who is blocked by it, too.
    """
    row = person(number)
    return row if blocked and row is not None else visible(row, reader)


def visible(row: PersonRow | None, reader: Reader) -> PersonRow:
    if row is None or (reader.has_barriers and barriers.between(reader.id, row.id).is_blocked):
        abort(404)
    return row


def rows(found: list[Row], author: Callable[[Row], int], reader: Reader, muted: bool = True) -> list[Row]:
    """Those that are by nobody whom they do not see."""
    if not reader.has_barriers or not found:
        return found
    between = barriers.all_between(reader.id, sorted({author(row) for row in found}))
    return [
        row
        for row in found
        if (one := between.get(author(row))) is None or not (one.apart or (muted and one.mutes))
    ]


def unseen(reader: Reader) -> Any:
    """The same as a condition for lists of people; None if there is nobody such."""
    if not reader.has_barriers:
        return None
    return lambda listed: barriers.unseen(reader.id, listed, muted=False)
