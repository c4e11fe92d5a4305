"""Mail to those who look after the site: ``ADMINS``, or, where none are set, its administrators."""

import signal
from collections.abc import Callable, Iterable

import microblog
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.machine import layout, privileges
from microblog.host.site import front, secrets
from microblog.mailer import Mailer

# What is to be told may be that the database does not answer.
_DATABASE_SECONDS = 10


def tell(subject: str, text: str, say: Callable[[str], None], *, to: Iterable[str] = ()) -> bool:
    """Send a mail to each of them; that it cannot be is said, and no more. Secrets are taken out.

    :param to: others than these.
    :return: whether one was sent.
    """
    try:
        config = Config.load(layout.env_file())
    except HostError:
        return False
    if not config.mail:
        return False
    name, administrators = _known(config)
    host = front.first_name(config)
    mailer = Mailer(config.mail, config.mail_from or f"noreply@{host}", name or config.site_name)
    sent = False
    for admin in tuple(to) or config.admins or administrators:
        try:
            mailer.send(mailer.message(admin, f"[{host}] {subject}", f"{secrets.clean(text)}\n"))
            sent = True
        except (OSError, ValueError) as error:
            say(f"{admin} could not be told: {error}")
    return sent


def readers(config: Config) -> tuple[str, ...]:
    """Who is told, by these settings."""
    return config.admins or tuple(_known(config)[1])


def _known(config: Config) -> tuple[str, list[str]]:
    """What the database has: the name that the site was given in a browser, and its administrators'
    addresses. Empty where it does not answer."""

    def look() -> tuple[str, list[str]]:
        import sqlalchemy as sa

        from microblog.database import db
        from microblog.models import User
        from microblog.models.site import looks

        signal.alarm(_DATABASE_SECONDS)
        owners = sa.select(User.email).where(
            User.is_admin.is_(True), User.email_confirmed.is_(True), User.suspended_at.is_(None)
        )
        with microblog.create_app(config).app_context():
            # As pages have it: a name in the settings file is not to be overruled.
            name = looks().name if config.site_name == Config.site_name else ""
            return name, list(db.session.execute(owners.order_by(User.id)).scalars())

    try:
        name, administrators = privileges.ask("the database does not answer", look)
    except HostError:
        return "", []
    return name, administrators
