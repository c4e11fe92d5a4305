"""The mail with what somebody has not read, and the link that ends such mails."""

from smtplib import SMTPException

from flask import current_app
from itsdangerous import BadSignature, URLSafeSerializer

from microblog.database import db
from microblog.i18n import _l
from microblog.models import User, digests
from microblog.models.digests import Digest
from microblog.models.notifications import KINDS
from microblog.models.user import WHOLE
from microblog.web import hosts, letters

# Mails that a process sends each time it keeps house: one by one, between those that people wait for.
BATCH = 200


def sweep() -> None:
    """Mail those whose turn it is. Whichever process of whichever machine takes somebody first does so."""
    if letters.mailer() is not None:
        _go_on(digests.due(BATCH))


def _go_on(user_ids: list[int]) -> None:
    if user_ids:
        letters.later(lambda: _send(user_ids[0], user_ids[1:]))


def _send(user_id: int, rest: list[int]) -> None:
    digest = digests.take(user_id)
    try:
        if digest is not None:
            _deliver(digest)
            digests.done(digest)
    except SMTPException:
        # This one was refused. Where there is no server, the others are left for later.
        _go_on(rest)
        raise
    _go_on(rest)


def _deliver(digest: Digest) -> None:
    end = f"{hosts.base_url()}/unsubscribe/{_token(digest.user_id, digest.since.isoformat())}"
    headers = {"List-Unsubscribe": f"<{end}>"}
    # One click is for https alone: https://www.rfc-editor.org/rfc/rfc8058#section-3.1
    if end.startswith("https:"):
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    letters.deliver(
        digest.email,
        digest.locale,
        _l("What you have not read"),
        "mail/digest.txt",
        headers,
        username=digest.username,
        counts=[(kind, digest.counts[kind]) for kind in KINDS if kind in digest.counts],
        link=f"{hosts.base_url()}/notifications",
        end=end,
    )


def subscriber(token: str) -> User | None:
    """Whose mails the link with this token ends."""
    try:
        user_id, since = _signer().loads(token)
    except (BadSignature, ValueError, TypeError):
        return None
    user: User | None = db.session.get(User, user_id, options=[WHOLE])
    # And no later account: a restored backup may not know that the number was used.
    return user if user is not None and user.created_at.isoformat() == since else None


def _token(user_id: int, since: str) -> str:
    return str(_signer().dumps([user_id, since]))


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.config["SECRET_KEY"], salt="unsubscribe")
