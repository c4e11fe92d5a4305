"""``microblog mail``: postfix for what the site sends, signed, or through somebody's relay.

Directly, each message goes to its recipient's server, with a DKIM signature by opendkim; the
records that make others believe it (SPF, RFC 7208; DKIM, RFC 6376; DMARC, RFC 7489) are printed,
for only the domain's owner can publish them. A relay signs by itself.
"""

import os
import re
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

from microblog import names
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.machine import apt, files, layout, lock, services
from microblog.host.site import envfile, supervisor

_POSTFIX = "postfix.service"
_OPENDKIM = "opendkim.service"
_SELECTOR = "microblog"
# Beside postfix's own, which its chroot cannot reach past.
_MILTER_PORT = 8891
_MILTER = f"inet:127.0.0.1:{_MILTER_PORT}"
_KEYS = Path("/etc/dkimkeys")
_OPENDKIM_CONFIG = Path("/etc/opendkim-microblog.conf")
_OPENDKIM_UNIT = Path("/etc/systemd/system/opendkim.service.d/microblog.conf")
_PASSWORDS = Path("/etc/postfix/microblog-relay")
_SEND_SECONDS = 30
_DOMAIN = re.compile(
    r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)
_MAILBOX = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{1,253}")


@dataclass(frozen=True)
class Relay:
    """Somebody's mail server that takes what we send.

    :ivar user: and ``password``: empty for one that knows us by our address.
    """

    host: str
    port: int
    user: str
    password: str


def set_up(domain: str, relay: "Relay | None", say: Callable[[str], None]) -> list[str]:
    """Have postfix take the site's messages, from this machine alone.

    :param domain: after the @ of the sender; empty for the site's first host name.
    :param relay: who takes them on; None: each recipient's own server.
    :return: the DNS records to publish; none with a relay.
    :raises HostError: if something cannot be installed or does not start.
    """
    _check_root()
    with lock.sole(say):
        config = Config.load(layout.env_file())
        domain = _sender_domain(domain, config)
        packages = ["postfix", *([] if relay else ["opendkim", "opendkim-tools"])]
        apt.ensure(say, *packages, *(["libsasl2-modules"] if relay and relay.user else []))
        _postconf(**_settings(relay))
        if relay:
            _write_password(relay)
        else:
            _sign(domain)
        for unit in ([] if relay else [_OPENDKIM]) + [_POSTFIX]:
            if services.run("systemctl", "restart", unit).returncode:
                raise HostError(f"{unit} does not start", f"journalctl -u {unit} says why")
        wanted = {"MAIL_SERVER": "localhost", "MAIL_PORT": "25"}
        if not config.mail_from:
            wanted["MAIL_FROM"] = f"noreply@{domain}"
        envfile.change(layout.env_file(), wanted)
        supervisor.restart()
        supervisor.wait_for_answer(say)
    say(f"Mail from {domain} goes {f'through {relay.host}' if relay else 'directly to its recipients'}")
    return [] if relay else records(domain)


def send_test(recipient: str) -> str:
    """Send a message as the site does.

    :param recipient: empty for the first administrator.
    :return: to whom it went.
    :raises HostError: if the mail server does not take it.
    """
    config = Config.load(layout.env_file())
    recipient = recipient or next(iter(config.admins), "")
    if not _MAILBOX.fullmatch(recipient):
        raise HostError("nobody to send a test to", "microblog mail --test YOU@EXAMPLE.ORG")
    if config.mail is None:
        raise HostError("the site sends no mail yet", "microblog mail sets it up")
    message = EmailMessage()
    message["From"] = config.mail_from or f"noreply@{names.machine_names()[0]}"
    message["To"] = recipient
    message["Subject"] = f"Test from {config.site_name}"
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=message["From"].rpartition("@")[2])
    message.set_content(f"This is how {config.site_name} writes to you.\n")
    try:
        kind = smtplib.SMTP_SSL if config.mail.tls == "tls" else smtplib.SMTP
        with kind(config.mail.host, config.mail.port, timeout=_SEND_SECONDS) as server:
            if config.mail.tls == "starttls":
                server.starttls()
            if config.mail.username:
                server.login(config.mail.username, config.mail.password)
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise HostError(
            f"{config.mail.host}:{config.mail.port} does not take mail: {error}", "journalctl -u postfix@-"
        ) from None
    return recipient


def records(domain: str) -> list[str]:
    """The lines for the domain's zone.

    :param domain: as for :func:`set_up`.
    :raises HostError: if there is no key for it yet.
    """
    _check_root()
    domain = _sender_domain(domain, Config.load(layout.env_file()))
    if not _key(domain).exists():
        raise HostError(f"there is no key for {domain} yet", f"microblog mail --domain {domain}")
    public = services.run("openssl", "pkey", "-in", str(_key(domain)), "-pubout").stdout
    key = "".join(line for line in public.splitlines() if "-----" not in line)
    # A string of a TXT record holds 255 characters (RFC 1035, 3.3.14).
    parts = " ".join(
        f'"{text}"' for text in [f"v=DKIM1; k=rsa; p={key}"[i : i + 250] for i in range(0, 900, 250)] if text
    )
    addresses = [
        f"ip{'6' if ':' in address else '4'}:{address}"
        for address in names.machine_addresses()
        if not address.startswith(("10.", "192.168.", "fd", "fe80", "fc"))
    ]
    return [
        f'{domain}. TXT "{" ".join(["v=spf1", "a", "mx", *addresses, "-all"])}"',
        f"{_SELECTOR}._domainkey.{domain}. TXT {parts}",
        f'_dmarc.{domain}. TXT "v=DMARC1; p=quarantine; rua=mailto:postmaster@{domain}"',
    ]


def _sender_domain(wanted: str, config: Config) -> str:
    first = next(iter(config.host_names), "").partition(":")[0]
    domain = (wanted or first or names.machine_names()[0]).lower()
    if not _DOMAIN.fullmatch(domain):
        raise HostError(f"{domain!r} is no domain", "microblog mail --domain example.org")
    return domain


def _settings(relay: "Relay | None") -> dict[str, str]:
    """postfix's, that differ from Debian's own."""
    common = {"inet_interfaces": "loopback-only", "smtpd_banner": "$myhostname ESMTP"}
    if relay is None:
        return {
            **common,
            "relayhost": "",
            "smtp_sasl_auth_enable": "no",
            "smtp_tls_security_level": "may",
            "smtpd_milters": _MILTER,
            "non_smtpd_milters": _MILTER,
            # Unsigned is better than not at all.
            "milter_default_action": "accept",
        }
    return {
        **common,
        "relayhost": f"[{relay.host}]:{relay.port}",
        "smtp_sasl_auth_enable": "yes" if relay.user else "no",
        "smtp_sasl_password_maps": f"hash:{_PASSWORDS}" if relay.user else "",
        "smtp_sasl_security_options": "noanonymous",
        # A password never goes in the clear. 465 is TLS from the first byte on (RFC 8314).
        "smtp_tls_security_level": "encrypt" if relay.user else "may",
        "smtp_tls_wrappermode": "yes" if relay.port == 465 else "no",
        "smtpd_milters": "",
        "non_smtpd_milters": "",
    }


def _postconf(**values: str) -> None:
    done = services.run("postconf", "-e", *(f"{name}={value}" for name, value in values.items()))
    if done.returncode:
        raise HostError(f"postfix refuses: {done.stdout.strip()[:200]}", "dpkg-reconfigure postfix")


def _write_password(relay: Relay) -> None:
    text = f"[{relay.host}]:{relay.port} {relay.user}:{relay.password}\n" if relay.user else ""
    files.write(_PASSWORDS, text, 0o600)
    if services.run("postmap", str(_PASSWORDS)).returncode:
        raise HostError(f"postmap does not read {_PASSWORDS}", "see the user's name and password")


def _key(domain: str) -> Path:
    return _KEYS / f"{_SELECTOR}.{domain}.private"


def _sign(domain: str) -> None:
    """Have opendkim sign, with a key made on this machine."""
    key = _key(domain)
    if not key.exists():
        # 2048 bits of RSA: what every verifier reads (RFC 8301, 3.2).
        partial = key.with_name(f".{key.name}.new")
        partial.unlink(missing_ok=True)
        old = os.umask(0o077)
        done = services.run("openssl", "genrsa", "-out", str(partial), "2048")
        os.umask(old)
        if done.returncode:
            raise HostError("openssl makes no key", done.stdout.strip()[-200:])
        services.run("chown", "opendkim:opendkim", str(partial))
        files.replace(partial, key)
    config = (
        "# Written by 'microblog mail'.\n"
        f"Domain {domain}\nSelector {_SELECTOR}\nKeyFile {key}\n"
        f"Socket inet:{_MILTER_PORT}@127.0.0.1\nMode s\nCanonicalization relaxed/simple\n"
        "UserID opendkim\nPidFile /run/opendkim/opendkim.pid\nSyslog yes\nUMask 007\n"
        "OversignHeaders From\nInternalHosts csl:127.0.0.1,::1,localhost\n"
    )
    files.write(_OPENDKIM_CONFIG, config, 0o644)
    _OPENDKIM_UNIT.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    unit = f"[Service]\nExecStart=\nExecStart=/usr/sbin/opendkim -x {_OPENDKIM_CONFIG}\n"
    files.write(_OPENDKIM_UNIT, unit, 0o644)
    services.run("systemctl", "daemon-reload")
    services.run("systemctl", "enable", _OPENDKIM)


def _check_root() -> None:
    if os.geteuid() != 0:
        raise HostError("only root can set mail up", "sudo microblog mail")
