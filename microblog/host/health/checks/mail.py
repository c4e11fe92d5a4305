"""What whoever waits for the site's mail gets: a message that was sent, signed and taken."""

import json
import re
import smtplib
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from microblog import mailer, names
from microblog.config import Config
from microblog.host.health.finding import Check, Finding, Plain
from microblog.host.machine import layout, services

_SECONDS = 5
_DEFERRED_SECONDS = 3600
# What 'microblog mail' has opendkim read.
_OPENDKIM = Path("/etc/opendkim-microblog.conf")


def _mail(config: Config) -> Iterator[Finding]:
    relay = config.mail
    if relay is None:
        return
    try:
        # As the application does.
        with mailer.connect(relay, _SECONDS) as connection:
            connection.noop()
    except smtplib.SMTPAuthenticationError as error:
        yield Finding(
            "mail.login",
            "error",
            f"The mail server {relay.host}:{relay.port} does not take the password.",
            f"It answers {error.smtp_code}.",
            "check MAIL_USERNAME and MAIL_PASSWORD in the settings; then: microblog setup",
        )
    except (OSError, smtplib.SMTPException) as error:
        yield Finding(
            "mail.down",
            "error",
            f"The mail server {relay.host}:{relay.port} does not answer.",
            str(error),
            "systemctl status postfix, or check MAIL_SERVER in the settings",
        )


def _signatures(config: Config) -> Iterator[Finding]:
    """Mail that 'microblog mail' has set up: signed for the domain that it comes from, and on its way."""
    if not (config.mail and _OPENDKIM.exists()):
        return
    signed = re.search(r"(?m)^Domain\s+(\S+)", _OPENDKIM.read_text(encoding="utf-8"))
    sender = config.mail_from.rpartition("@")[2]
    milters = services.answer("postconf", "-h", "smtpd_milters")
    if "8891" not in milters:
        return
    if signed and signed[1] != sender:
        yield Finding(
            "mail.unsigned",
            "warning",
            f"Mail from {sender or 'this machine'} is not signed.",
            f"Signatures are made for {signed[1]}.",
            f"microblog mail --domain {sender or signed[1]}",
        )
    if services.state("opendkim.service") not in ("active", "unknown"):
        yield Finding(
            "mail.signer",
            "warning",
            "Mail is not signed.",
            "opendkim does not run; what goes unsigned is taken for spam.",
            "systemctl restart opendkim; journalctl -u opendkim says why",
        )


def _queue(config: Config) -> Iterator[Finding]:
    """Mail that nobody takes."""
    if config.mail is None or not names.is_loopback(config.mail.host):
        return
    old = []
    for line in services.run("postqueue", "-j").stdout.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            message = json.loads(line)
            if (
                message["queue_name"] == "deferred"
                and time.time() - message["arrival_time"] > _DEFERRED_SECONDS
            ):
                old.append(str(message["recipients"][0].get("delay_reason", "")))
    if old:
        yield Finding(
            "mail.deferred",
            "warning",
            f"{len(old)} messages wait, and nobody takes them.",
            f"The first: {old[0][:160] or 'postfix does not say why'}.",
            "providers often block port 25: microblog mail --relay HOST; postqueue -p shows them",
        )


def _sender(config: Config) -> Iterator[Finding]:
    """Mail from a name that nobody knows is refused by whom it is for, and its links lead nowhere."""
    if config.mail is None:
        return
    told = [name.partition(":")[0] for name in config.host_names if not name.startswith("[")]
    sender = config.mail_from.rpartition("@")[2] or (told or names.machine_names() or ["localhost"])[0]
    if not names.is_public(sender):
        yield Finding(
            "mail.sender",
            "warning",
            f"Other servers refuse mail from {sender}.",
            "It is no domain that they know.",
            "microblog mail --domain DOMAIN, or MAIL_FROM",
        )
    elif not config.host_names and not any(map(names.is_public, names.machine_names())):
        yield Finding(
            "mail.links",
            "warning",
            f"Links in mails lead to {(names.machine_names() or ['localhost'])[0]}.",
            "Outside of this network nobody finds that name.",
            f"put HOST_NAMES={sender} into {layout.env_file()}, or what it is called; then: microblog setup",
        )


PLAIN: tuple[Plain, ...] = ()
CHECKS: tuple[Check, ...] = (_mail, _sender, _signatures, _queue)
