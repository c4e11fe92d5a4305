"""Pages cut by the id of a row.

By the id and not by counting from the top: a page deep down costs what the first one
does, and does not shift while others write.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, TypeVar

# The last number that every database can count to.
ID_MAX = 2**63 - 1
# Rows that are read at once where all of them are.
CHUNK = 500
# Rows that are looked at for a part of a list, where few of them are wanted; and at once.
LOOKED = 2000
_AT_ONCE = 1_000


class _Row(Protocol):
    @property
    def id(self) -> Any: ...


Row = TypeVar("Row", bound=_Row)
Kept = TypeVar("Kept")


class Cut(NamedTuple):
    """Where to read.

    :ivar bound: an id; None means from the very end.
    :ivar newer: whether to read upwards what is above it, else downwards what is below.
    :ivar limit: how many rows.
    """

    bound: int | None
    newer: bool
    limit: int

    def apply(self, query: Any, column: Any) -> Any:
        """The query, ordered and cut by this column."""
        if self.bound is not None:
            query = query.where(column > self.bound if self.newer else column < self.bound)
        return query.order_by(column if self.newer else column.desc()).limit(self.limit)


def cut(
    fetch: Callable[[Cut], list[Row]], before: int | None, after: int | None, size: int
) -> tuple[list[Row], int | None, int | None]:
    """The page before or after an id, or the newest.

    :param fetch: gives the rows of a :class:`Cut`, in its direction.
    :return: the rows, newest first; the id after which the next newer page begins, if there is
        one; the id before which the next older one begins, if there is one.
    """
    # One more than is shown tells whether there is another page.
    if after is not None:
        found = fetch(Cut(after, True, size + 1))
        if len(found) > size:
            rows = found[:size][::-1]
            return rows, rows[0].id, rows[-1].id
        # The top is reached: show it full, not the few that are newer.
        before = None
    found = fetch(Cut(before, False, size + 1))
    rows = found[:size]
    return (
        rows,
        rows[0].id if rows and before is not None else None,
        rows[-1].id if len(found) > size else None,
    )


def filled(
    fetch: Callable[[Cut], list[Any]],
    keep: Callable[[list[Any]], list[Kept]],
    at: Cut,
    most: int | None = None,
    number: Callable[[Any], int] = attrgetter("id"),
) -> list[Kept]:
    """As many rows as are wanted, as long as there are: some that are next to a cut may not be wanted.

    :param keep: of some rows, those that are wanted, or what is made of them.
    :param most: how many are looked at, about; None: all.
    :param number: a row's, by which the list is cut.
    """
    found: list[Kept] = []
    part, looked = at, 0
    while True:
        rows = fetch(part)
        found += keep(rows)
        looked += len(rows)
        if len(found) >= at.limit or len(rows) < part.limit or (most is not None and looked >= most):
            return found[: at.limit]
        part = Cut(number(rows[-1]), at.newer, min(part.limit * 2, _AT_ONCE))


def pieces(
    fetch: Callable[[Any], Sequence[Any]],
    query: Any,
    column: Any,
    newer: bool = True,
    bound: int | None = None,
    size: int = CHUNK,
) -> Iterator[Sequence[Any]]:
    """All rows, however many, some at a time; what is written meanwhile is found if it is yet to come.

    :param fetch: runs a query.
    :param query: its rows have the column as ``id``.
    :param newer: upwards, else downwards.
    :param bound: where to begin, if not at the end.
    :param size: how many at a time.
    """
    while rows := fetch(Cut(bound, newer, size).apply(query, column)):
        yield rows
        bound = rows[-1].id
