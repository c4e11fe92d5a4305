"""Several columns as one text: to read a column costs a driver as much as some lines of Python."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


def constant(text: str) -> Any:
    """What is the same each time, as SQL: a value that is sent costs as much as to look up a row."""
    return sa.literal_column(text, sa.String if text.startswith("'") else sa.Integer)


NO = constant("''")


def yes(condition: Any) -> Any:
    """A part of a text: "1" if something is so, else nothing."""
    return sa.case((condition, constant("'1'")), else_=NO)


class Joined(FunctionElement):  # type: ignore[type-arg]
    """The parts, with a sign between them; none may be NULL.

    :param sign: as SQL.
    """

    type = sa.String()
    inherit_cache = True

    def __init__(self, sign: str, *parts: Any) -> None:
        super().__init__(constant(sign), *parts)


def _processed(text: Joined, compiler: Any, options: Any) -> Iterator[str]:
    return (compiler.process(part, **options) for part in text.clauses)


@compiles(Joined, "sqlite")
def _joined(text: Joined, compiler: Any, **options: Any) -> str:
    sign, *parts = _processed(text, compiler, options)
    return f"({f' || {sign} || '.join(parts)})"


@compiles(Joined, "mysql")
@compiles(Joined, "mariadb")
def _concatenated(text: Joined, compiler: Any, **options: Any) -> str:
    return f"concat_ws({', '.join(_processed(text, compiler, options))})"
