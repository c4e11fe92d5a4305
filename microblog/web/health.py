"""Health checks, for supervisors and load balancers: whether this machine is alive, and whether it can serve.

The first asks nobody: a database that is away for a moment is away for all machines, and to end them all
would not bring it back.
"""

import mmap
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Response, current_app, jsonify, request
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from microblog import draining, proof, revisions
from microblog.database import reading

blueprint = Blueprint("health", __name__)

# Where the application keeps whether the schema was seen to be right: once for all processes that it forks.
_GOOD = "microblog.schema_is_good"
# And the look at the database that is under way.
_LOOK = "microblog.look"
# Those of the version that runs: an upgrade changes the files under it.
_ALL, _HEADS = revisions.known()
# Seconds for which a database is waited for: whoever asks is to hear that it does not answer. By hearing
# nothing, balancers know a machine that is dead.
SOON = 2.0


@blueprint.record
def share(state: BlueprintSetupState) -> None:
    state.app.extensions[_GOOD] = mmap.mmap(-1, 1)
    state.app.extensions[_LOOK] = _Look(state.app)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """200: the application answers."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    """200 while visitors may be sent here: the database answers, its schema is as new as this version, and
    the application is not about to end. Else 503."""
    if draining.is_on():
        return jsonify(status="draining"), 503
    try:
        problem = current_app.extensions[_LOOK].soon()
    except (SQLAlchemyError, TooLate) as error:
        current_app.logger.error(
            "not ready: the database does not answer: %s", str(error) or f"for {SOON:g} s"
        )
        problem = "database unreachable"
    return (jsonify(status=problem), 503) if problem else jsonify(status="ok")


def _problem() -> str:
    with reading() as connection:
        if current_app.extensions[_GOOD][0]:
            connection.execute(sa.text("SELECT 1"))
            return ""
        # A table that is not there is an error as well; then there is no schema.
        present = {
            str(row[0]) for row in connection.execute(sa.text("SELECT version_num FROM alembic_version"))
        }
    # One that is newer was made by a version that lets this one go on.
    if not present or (present <= _ALL and present != _HEADS):
        return "schema not up to date"
    current_app.extensions[_GOOD][0] = 1
    return ""


class _Look:
    """A look at the database beside who waits for it: one at a time, for all who ask meanwhile."""

    def __init__(self, app: Any) -> None:
        self._app, self._lock = app, threading.Lock()
        self._found: Future[str] | None = None

    def soon(self) -> str:
        """What :func:`_problem` says. :raises TooLate: it has not said so in time."""
        with self._lock:
            if self._found is None:
                self._found = Future()
                threading.Thread(target=self._work, args=(self._found,), daemon=True).start()
            found = self._found
        return found.result(SOON)

    def _work(self, found: "Future[str]") -> None:
        try:
            with self._app.app_context():
                problem = _problem()
        except BaseException as error:
            self._over()
            found.set_exception(error)
        else:
            self._over()
            found.set_result(problem)

    def _over(self) -> None:
        with self._lock:
            self._found = None


@blueprint.after_request
def prove(response: Response) -> Response:
    """Tell who asks that it is this site that answers, and not a program in its place."""
    if question := request.headers.get(proof.HEADER):
        response.headers[proof.HEADER] = proof.answer(current_app.config["SECRET_KEY"], question)
    return response
