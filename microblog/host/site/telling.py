"""Mail to those who look after the site (``ADMINS``)."""

from collections.abc import Callable

from microblog.config import Config
from microblog.errors import HostError
from microblog.host.machine import layout
from microblog.host.site import front
from microblog.mailer import Mailer


def tell(subject: str, text: str, say: Callable[[str], None]) -> bool:
    """Send a mail to each of ``ADMINS``; that it cannot be is said, and no more.

    :return: whether one was sent.
    """
    try:
        config = Config.load(layout.env_file())
    except HostError:
        return False
    if not config.mail or not config.admins:
        return False
    host = front.first_name(config)
    mailer = Mailer(config.mail, config.mail_from or f"noreply@{host}", config.site_name)
    sent = False
    for admin in config.admins:
        try:
            mailer.send(mailer.message(admin, f"[{host}] {subject}", f"{text}\n"))
            sent = True
        except (OSError, ValueError) as error:
            say(f"{admin} could not be told: {error}")
    return sent
