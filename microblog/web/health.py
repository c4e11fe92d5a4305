"""A health check for supervisors and load balancers."""

import sqlalchemy as sa
from flask import Blueprint, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from microblog import proof
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


@blueprint.after_request
def prove(response: Response) -> Response:
    """Tell who asks that it is this site that answers, and not a program in its place."""
    if question := request.headers.get(proof.HEADER):
        response.headers[proof.HEADER] = proof.answer(current_app.config["SECRET_KEY"], question)
    return response
