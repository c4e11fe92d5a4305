"""Lists in parts: ``max_id``, ``since_id``, ``min_id``, ``limit``, and a header Link to the parts beside."""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import Response, jsonify, request

from microblog.models.paging import Cut
from microblog.web.api import sent
from microblog.web.mastodon.site import address

Row = TypeVar("Row")


def part(
    fetch: Callable[[Cut], list[Row]], number: Callable[[Row], int], usual: int = 20, most: int = 40
) -> list[Row]:
    """The rows that are asked for, newest first.

    :param fetch: gives the rows of a cut, in its direction.
    :param number: a row's, by which the list is cut.
    """
    limit = min(max(1, sent.number("limit") or usual), most)
    bottom, since = sent.number("min_id"), sent.number("since_id")
    top = sent.number("max_id")
    newer = bottom is not None
    rows = fetch(Cut(bottom if newer else top, newer, limit))
    rows = rows[::-1] if newer else rows
    return [
        row for row in rows if (top is None or number(row) < top) and (since is None or number(row) > since)
    ]


def answer(told: list[dict[str, Any]], first: int | None, last: int | None) -> Response:
    """:param first: the number of the first of the rows, ``last`` of the last; None: there were none."""
    response: Response = jsonify(told)
    if first is not None and last is not None:
        kept = [
            (name, value)
            for name, value in request.args.items(multi=True)
            if name not in ("max_id", "min_id", "since_id")
        ]
        here = f"{address()}{request.path}?"
        links = [
            f'<{here}{urlencode([*kept, (name, str(value))], errors="replace")}>; rel="{rel}"'
            for name, value, rel in (("max_id", last, "next"), ("min_id", first, "prev"))
        ]
        response.headers["Link"] = ", ".join(links)
    return response


def listed(
    rows: list[Row], number: Callable[[Row], int], tell: Callable[[list[Row]], list[dict[str, Any]]]
) -> Response:
    """Likewise, of the rows themselves. Where some of them are not told, the list goes on after them."""
    ends = (number(rows[0]), number(rows[-1])) if rows else (None, None)
    return answer(tell(rows), *ends)
