"""Lists in parts, as the tutorial has them: ``items``, ``_meta``, ``_links``.

What cannot hold for a million rows is answered as far as it is cheap: a page is found by its number as far
as so many rows from the top, and by the cursor in ``_links`` anywhere.
"""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import request

from microblog.models.paging import Cut
from microblog.web.api import sent
from microblog.web.api.errors import Refused

PER_PAGE, MOST = 10, 100
# Rows from the top, as far as page numbers go.
DEEPEST = 1_000

Row = TypeVar("Row")


def answer(
    fetch: Callable[[Cut], list[Row]],
    number: Callable[[Row], int],
    item: Callable[[list[Row]], list[dict[str, Any]]],
    total: int | None = None,
    oldest_first: bool = False,
) -> dict[str, Any]:
    """The part of a list that was asked for.

    :param fetch: gives the rows of a cut, in its direction.
    :param number: a row's, by which the list is in order.
    :param item: makes rows to what is told of them.
    :param total: rows of the list, where that is known.
    :param oldest_first: the list begins with the lowest number, else with the highest.
    """
    page, size = max(1, sent.number("page") or 1), min(max(1, sent.number("per_page") or PER_PAGE), MOST)
    before, after = sent.number("before"), sent.number("after")
    # Past ``after`` in the list's own order; or up to ``before``, from there back.
    back = before is not None and after is None
    cursor = before if back else after
    skipped = (page - 1) * size if cursor is None else 0
    if skipped + size > DEEPEST and cursor is None:
        raise Refused(400, f"Page numbers go as far as {DEEPEST} rows: follow _links.next.")
    upwards = oldest_first != back
    bound = cursor if cursor is not None else (0 if upwards else None)
    rows = fetch(Cut(bound, upwards, skipped + size + 1))[skipped:]
    more, rows = len(rows) > size, rows[:size]
    if back:
        rows.reverse()
    has_next, has_prev = (True, more) if back else (more, cursor is not None or page > 1)

    def link(**values: int) -> str:
        return f"{request.path}?{urlencode({'per_page': size, **values})}"

    first, last = (number(rows[0]), number(rows[-1])) if rows else (0, 0)
    return {
        "items": item(rows),
        "_meta": {
            "page": page,
            "per_page": size,
            "total_pages": None if total is None else -(-total // size),
            "total_items": total,
        },
        "_links": {
            "self": f"{request.path}?{urlencode({'page': page, 'per_page': size})}"
            if cursor is None
            else link(page=page, **({"before": cursor} if back else {"after": cursor})),
            "next": link(page=page + 1, after=last) if rows and has_next else None,
            "prev": link(page=max(1, page - 1), before=first) if rows and has_prev else None,
        },
    }
