"""Joins whose tables are read in the order in which they are written.

A planner that begins a feed at the other end reads, and sorts, all there is. SQLAlchemy has no words for
this that all databases share.
"""

from typing import Any, ClassVar

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.selectable import Join


class InOrder(Join):
    """The left side first, and for each of its rows the right one."""

    # The class alone tells such joins apart in SQLAlchemy's cache.
    inherit_cache = True
    # By dialect: how the left side is read.
    hints: ClassVar[dict[str, str]] = {}


class ByNumber(InOrder):
    """Likewise, and the left side in the order of its primary key."""

    inherit_cache = True
    hints: ClassVar[dict[str, str]] = {"mysql": " FORCE INDEX (PRIMARY)", "sqlite": " NOT INDEXED"}


class ByLatest(InOrder):
    """Likewise, and the left side, authors, by who wrote last."""

    inherit_cache = True
    hints: ClassVar[dict[str, str]] = {"mysql": " FORCE INDEX (ix_latest_posts_post_id)"}


class ByTag(InOrder):
    """Likewise, and the left side, posts with tags, by tag and number."""

    inherit_cache = True
    hints: ClassVar[dict[str, str]] = {"mysql": " FORCE INDEX (PRIMARY)"}


@compiles(InOrder, "mysql")
@compiles(InOrder, "mariadb")
@compiles(InOrder, "sqlite")
def _join(join: InOrder, compiler: Any, **options: Any) -> str:
    # Which table goes with which is plain: nothing is to be warned of.
    options.update(asfrom=True, from_linter=None)
    left, right = (compiler.process(side, **options) for side in (join.left, join.right))
    name = "sqlite" if compiler.dialect.name == "sqlite" else "mysql"
    word = "CROSS JOIN" if name == "sqlite" else "STRAIGHT_JOIN"
    return f"{left}{join.hints.get(name, '')} {word} {right} ON {compiler.process(join.onclause, **options)}"
