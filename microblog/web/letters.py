"""Mails to people: written in their language, in the mailer's thread."""

import ipaddress
import socket
from collections.abc import Callable, Mapping

from flask import Flask, current_app, render_template

from microblog import units
from microblog.config import Config
from microblog.database import db
from microblog.i18n import _l, language, speaking
from microblog.mailer import Mailer
from microblog.models import User, throttle, tokens
from microblog.models.account import NOWHERE
from microblog.web import limits
from microblog.web.hosts import bare, external_url
from microblog.web.site_looks import site_name


def init_app(app: Flask, config: Config) -> None:
    app.config["ADMINS"] = config.admins
    app.extensions["microblog.mailer"] = (
        Mailer(config.mail, config.mail_from or sender(config.host_names), config.site_name)
        if config.mail
        else None
    )


def sender(host_names: tuple[str, ...]) -> str:
    """Whom mails are from, where nobody has said: a mailbox at the site's name, or the machine's."""
    for name in map(bare, host_names):
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return f"noreply@{name}"
    return f"noreply@{socket.gethostname()}"


def mailer() -> Mailer | None:
    """The site's mailer; None where no mail server is configured."""
    found: Mailer | None = current_app.extensions["microblog.mailer"]
    return found


def later(job: Callable[[], None]) -> None:
    """Do this in the mailer's thread, in an application context.

    Looking somebody up there, too, gives all visitors the same answer in the same time.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]

    def run() -> None:
        with app.app_context():
            # What it changes is for the letter at its end: where it is begun again, nobody has that yet.
            units.run(job, twice=True)

    if post := mailer():
        post.later(run)


def deliver(
    to: str,
    reads: str | None,
    subject: object,
    template: str,
    headers: Mapping[str, str] | None = None,
    **values: object,
) -> None:
    """Write a mail and send it; only from within :func:`later`.

    :param reads: the reader's language; None: the site's own.
    :param subject: looked up in that language, if it is a lazy text.
    :param headers: what it has besides those of all mails.
    """
    if to.endswith(NOWHERE):
        return
    post = mailer()
    assert post is not None  # noqa: S101 - else nothing comes here
    with speaking(reads):
        text = render_template(template, **values)
        message = post.message(to, str(subject), text, site_name())
    for name, value in (headers or {}).items():
        message[name] = value
    post.send(message)


def tell_change(user: User, to: str, what: str) -> None:
    """Mail somebody that their account has changed: it may not have been them.

    :param what: ``password``, ``email``, ``second`` (a second factor), ``codes`` (of recovery), ``passkey``.
    """
    username, reads = user.username, user.locale or language()
    subject = _l("Your account was changed")
    later(lambda: deliver(to, reads, subject, "mail/changed.txt", username=username, what=what))


def tell_welcome(user: User) -> None:
    """Mail somebody that they were let in."""
    email, username, reads, link = user.email, user.username, user.locale, external_url("auth.login")
    subject = _l("You may come in")
    later(lambda: deliver(email, reads, subject, "mail/welcome.txt", username=username, link=link))


def ask_for_proof(user: User, email: str) -> None:
    """Mail a link to an address, by which who has it says that it is this account's.

    As many in the lifetime of a link as do no harm to somebody who never asked.
    """
    if throttle.attempt(limits.PROOF.key(email.lower())):
        return
    user_id, start = user.id, external_url("account.confirm", token="-")[:-1]  # noqa: S106
    reads = user.locale or language()

    def send() -> None:
        found = db.session.get(User, user_id)
        if found is None:
            return
        token = tokens.issue(found, tokens.NEW_EMAIL, email)
        db.session.commit()
        subject = _l("Your e-mail address")
        deliver(email, reads, subject, "mail/confirm.txt", username=found.username, link=start + token)

    later(send)
