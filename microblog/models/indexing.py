"""Tells the search engine, if there is one, what a transaction has changed, once it is committed."""

from typing import Any

import sqlalchemy as sa
from flask import Flask, current_app

from microblog.database import db
from microblog.elasticsearch import Elasticsearch

_KEY = "microblog.elasticsearch"


def init_app(app: Flask, url: str) -> None:
    """:param url: of Elasticsearch; empty: the database alone searches."""
    app.extensions[_KEY] = Elasticsearch(url) if url else None


def engine() -> Elasticsearch | None:
    """The search engine of the application at hand."""
    return current_app.extensions.get(_KEY)


def added(post_id: int, author_id: int, body: str) -> None:
    _note("add", post_id, author_id, body)


def removed(post_id: int) -> None:
    _note("remove", post_id)


def _note(*change: Any) -> None:
    if engine() is not None:
        db.session.info.setdefault(_KEY, []).append(change)


@sa.event.listens_for(db.session, "after_commit")
def _send(session: Any) -> None:
    for name, *values in session.info.pop(_KEY, ()):
        getattr(engine(), name)(*values)


@sa.event.listens_for(db.session, "after_soft_rollback")
def _forget(session: Any, _previous: Any) -> None:
    session.info.pop(_KEY, None)
