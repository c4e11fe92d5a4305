"""Figures for Prometheus, for who has the token; without ``METRICS_TOKEN`` there is no such page."""

import hmac
import threading
import time

import sqlalchemy as sa
from flask import Blueprint, Response, abort, current_app, request
from sqlalchemy.exc import SQLAlchemyError

import microblog
from microblog.database import db
from microblog.models import Post, User

blueprint = Blueprint("metrics", __name__)
# A large table takes its time to count, and monitors ask often.
_KEPT_SECONDS = 60.0
_lock = threading.Lock()


@blueprint.get("/metrics")
def metrics() -> Response:
    """In the text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""
    token = f"Bearer {current_app.config['METRICS_TOKEN']}"
    if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), token.encode()):
        abort(401)
    lines = [*_gauge("info", "The version that runs.", 1, f'{{version="{microblog.__version__}"}}')]
    counts = _counts()
    lines += _gauge("database_up", "Whether the database answers.", int(counts is not None))
    if counts is not None:
        lines += _gauge("accounts", "Accounts.", counts[0])
        lines += _gauge("posts", "Posts.", counts[1])
    return Response("".join(f"{line}\n" for line in lines), mimetype="text/plain; version=0.0.4")


def _gauge(name: str, about: str, value: int, labels: str = "") -> list[str]:
    metric = f"microblog_site_{name}"
    return [f"# HELP {metric} {about}", f"# TYPE {metric} gauge", f"{metric}{labels} {value}"]


def _counts() -> tuple[int, int] | None:
    """Accounts and posts, not older than a minute; None where the database does not answer."""
    kept: dict[str, tuple[float, tuple[int, int]]] = current_app.extensions.setdefault(
        "microblog.metrics", {}
    )
    try:
        # It has to answer now, whatever is known from before.
        db.session.execute(sa.text("SELECT 1"))
        with _lock:
            when, counts = kept.get("counts", (0.0, (0, 0)))
            if not when or time.monotonic() - when > _KEPT_SECONDS:
                accounts, posts = (
                    db.session.execute(sa.select(sa.func.count()).select_from(model)).scalar_one()
                    for model in (User, Post)
                )
                counts = (accounts, posts)
                kept["counts"] = (time.monotonic(), counts)
    except SQLAlchemyError:
        return None
    return counts
