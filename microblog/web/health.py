"""A health check for supervisors and load balancers."""

import sqlalchemy as sa
from flask import Blueprint, current_app, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from microblog.database import db

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """200 while the database answers, else 503."""
    try:
        db.session.execute(sa.text("SELECT 1"))
    except SQLAlchemyError as error:
        current_app.logger.error("health check: the database does not answer: %s", error)
        return jsonify(status="database unreachable"), 503
    return jsonify(status="ok")
