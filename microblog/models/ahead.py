"""What a page asks the database first, asked together with who reads it.

Each time that a process waits for an answer, another one takes its processor: to ask once less spares a page
more than the statement's own words.
"""

from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import g, has_app_context

from microblog.database import first_row

_KEY = "microblog_answer"


class Question(NamedTuple):
    """A statement that gives one value, or none.

    :ivar query: made once.
    """

    query: Any
    values: dict[str, Any]


NOTHING = Question(sa.select(sa.null()), {})


def note(question: Question, found: Any) -> None:
    """Keep an answer until this request asks for it."""
    setattr(g, _KEY, (question, found))


def answer(question: Question) -> Any:
    """The one that is there, else the database's."""
    asked, found = (g.pop(_KEY, None) if has_app_context() else None) or (None, None)
    if asked == question:
        return found
    row = first_row(question.query, question.values)
    return row[0] if row else None
