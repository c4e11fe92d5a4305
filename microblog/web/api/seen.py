"""What who calls may see of whom: nobody is shown who blocks them, or whom they keep away."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from flask import abort

from microblog.models import Reader, barriers
from microblog.models.people import PersonRow, people, person

Row = TypeVar("Row")


def somebody(number: int, reader: Reader) -> PersonRow:
    """The account with this number, if it is there for them."""
    return visible(person(number), reader)


def visible(row: PersonRow | None, reader: Reader) -> PersonRow:
    if row is None or not _known([row.id], reader, kept=False):
        abort(404)
    return row


def known(number: int, reader: Reader) -> PersonRow:
    """Likewise, and those whom they keep away themselves: so that they can end that."""
    row = person(number)
    if row is None or not _known([row.id], reader):
        abort(404)
    return row


def all_known(numbers: Iterable[int], reader: Reader) -> list[int]:
    """Of these accounts, those that are there and known to them."""
    wanted = list(dict.fromkeys(numbers))
    there = people(wanted)
    return _known([number for number in wanted if number in there], reader)


def _known(numbers: list[int], reader: Reader, kept: bool = True) -> list[int]:
    if not reader.has_barriers or reader.moderates:
        return numbers
    between = barriers.all_between(reader.id, numbers)
    # Who is blocked is told no more than of somebody who is not there.
    return [
        number
        for number in numbers
        if not (one := between.get(number, barriers.NOTHING)).is_blocked
        or (kept and (one.blocks or one.mutes))
    ]


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
