"""Where in a list the visitor is."""

from flask import request

from microblog.models.paging import ID_MAX


def cursor() -> dict[str, int | None]:
    """What the page's address says; what is no id counts as the top."""
    return {name: row_id(request.args.get(name, type=int)) for name in ("before", "after")}


def row_id(number: int | None) -> int | None:
    return number if number is not None and 0 <= number <= ID_MAX else None
