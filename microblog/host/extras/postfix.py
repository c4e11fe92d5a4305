"""``microblog mail``: postfix for what the site sends, signed, or through somebody's relay.

Directly, each message goes to its recipient's server, with a DKIM signature by opendkim; the
records that make others believe it (SPF, RFC 7208; DKIM, RFC 6376; DMARC, RFC 7489) are printed,
for only the domain's owner can publish them. A relay signs by itself.
"""

import hashlib
import ipaddress
import os
import re
import smtplib
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from pathlib import Path

from microblog import names
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.extras import mx
from microblog.host.machine import apt, files, layout, ledger, lock, privileges, services
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
# How long a test waits for another server to take it.
_DELIVER_SECONDS = 60
_OUT_SECONDS = 20
# As 'postqueue -j' has it, of what is on its way; what is put off is in another queue.
_WAITING = re.compile(r'"queue_name": "(maildrop|incoming|active)"')
_COMMAND = "mail"
_MAIN, _MASTER = Path("/etc/postfix/main.cf"), Path("/etc/postfix/master.cf")
_MASTER_SHIPPED = Path("/usr/share/postfix/master.cf.dist")
_SENDMAIL = Path("/usr/sbin/sendmail")
_RESTART = [["systemctl", "try-restart", _POSTFIX]]
# What Debian's own main.cf sets; whoever has set more has set up a mail server.
_PLAIN = re.compile(
    r"alias_(database|maps)|append_dot_mydomain|biff|compatibility_level|inet_(interfaces|protocols)"
    r"|mailbox_(command|size_limit)|my(destination|hostname|networks|origin)|recipient_delimiter|relayhost"
    r"|(html|readme|command|daemon|data|queue)_directory|(mail_owner|setgid_group|sendmail_path)"
    r"|smtpd_(banner|relay_restrictions|use_tls)"
    r"|smtpd?_tls_(CApath|security_level|session_cache_database|cert_file|key_file)"
)
_DOMAIN = re.compile(
    r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)
# What stands for a whole name in postfix's mydestination.
_OWN = ("$myhostname", "${myhostname}", "$mydomain", "${mydomain}", "$myorigin", "${myorigin}")
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


def set_up(
    domain: str, relay: "Relay | None", say: Callable[[str], None], *, force: bool = False
) -> list[str]:
    """Have postfix take the site's messages, from this machine alone.

    :param domain: after the @ of the sender; empty for the sender's, or the site's first host name.
    :param relay: who takes them on; None: each recipient's own server.
    :param force: change a mail server that somebody else has set up.
    :return: the DNS records to publish; none with a relay.
    :raises HostError: if something cannot be installed or does not start, or somebody's mail server is here.
    """
    privileges.require_root("set mail up", "sudo microblog mail")
    config = Config.load(layout.env_file())
    domain = _sender_domain(domain, config)
    if not force and (whose := theirs()):
        raise HostError(
            whose, "MAIL_SERVER=localhost in the settings uses it as it is; microblog mail --force changes it"
        )
    fresh = not apt.installed("postfix")
    apt.ensure(say, *_packages(relay), may_remove=force)
    with lock.sole(say):
        ledger.settle()
        if fresh:
            # The distribution's takes mail from the whole network. Where there was none before, taken back
            # there is none that runs.
            services.run("systemctl", "disable", "--now", _POSTFIX)
        _start_at_boots()
        _postconf(**_settings(relay, domain))
        if relay and relay.user:
            _write_password(relay)
        else:
            _forget_password()
        if not relay:
            _sign(domain)
        for unit in ([] if relay else [_OPENDKIM]) + [_POSTFIX]:
            if services.run("systemctl", "restart", unit).returncode:
                raise HostError(f"{unit} does not start", f"journalctl -u {unit} says why")
        _tell_the_site(config, domain)
        supervisor.restart()
        supervisor.wait_for_answer(say)
    say(f"Mail from {domain} goes {f'through {relay.host}' if relay else 'directly to its recipients'}")
    return [] if relay else records(domain)


def plan(domain: str, relay: "Relay | None") -> list[str]:
    """What :func:`set_up` would change; changes nothing."""
    privileges.require_root("set mail up", "sudo microblog mail")
    domain = _sender_domain(domain, Config.load(layout.env_file()))
    lines = [f"Would refuse without --force: {whose}"] if (whose := theirs()) else []
    lines += [f"Would install: {name}" for name in _packages(relay) if not apt.installed(name)]
    lines += [f"Would set in postfix: {name} = {value}" for name, value in _settings(relay, domain).items()]
    return [*lines, f"Would send as noreply@{domain}"]


def _packages(relay: "Relay | None") -> list[str]:
    if relay is None:
        return ["postfix", "opendkim", "opendkim-tools"]
    return ["postfix", *(["libsasl2-modules"] if relay.user else [])]


def disable(say: Callable[[str], None]) -> None:
    """Give the mail server back as it was."""
    privileges.require_root("set mail up", "sudo microblog mail")
    with lock.sole(say):
        ledger.take_back(_COMMAND, say)
        if services.booted():
            services.run("systemctl", "daemon-reload")
            services.run("systemctl", "try-restart", _POSTFIX)
        supervisor.restart()
        supervisor.wait_for_answer(say)
    say("The mail server is as it was before 'microblog mail'")


def let_out() -> None:
    """Wait, no longer than a while, until what was just handed to this machine's mail server is out, or put
    off: what waits there goes by the settings of the day when it goes."""

    def is_out() -> bool:
        return not _WAITING.search(services.answer("postqueue", "-j"))

    services.wait_for(is_out, _OUT_SECONDS)


def theirs() -> str:
    """Whose mail server is here, in a line; empty for the distribution's own, or none."""
    if not apt.installed("postfix"):
        if not _SENDMAIL.exists():
            return ""
        owner = services.run("dpkg", "--search", str(_SENDMAIL.resolve())).stdout.partition(":")[0]
        return f"this machine's mail server is {owner or _SENDMAIL}: postfix would take its place"
    more, found = _more()
    if found is None:
        return ""
    local = {
        *names.machine_names(),
        "localhost",
        "localdomain",
        "localhost.localdomain",
        "localhost.$mydomain",
        "$myhostname",
    }
    local |= {f"{name}.localdomain" for name in names.machine_names()}
    domains = set(found.get("mydestination", "").replace(",", " ").split()) - local
    if domains - {Path("/etc/mailname").read_text().strip() if Path("/etc/mailname").exists() else ""}:
        more.append("mydestination")
    return f"postfix is somebody's mail server already: {', '.join(sorted(more)[:4])} are set" if more else ""


def _start_at_boots() -> None:
    """Taken back, postfix is off as it was; but for one that somebody has made theirs since, by a change of
    its main.cf: mail comes to that."""
    if services.run("systemctl", "is-enabled", _POSTFIX).stdout.strip() == "enabled":
        return
    now = "" if services.state(_POSTFIX) == "active" else "--now "
    digest = hashlib.sha256(_MAIN.read_bytes() if _MAIN.exists() else b"").hexdigest()
    unchanged = f"echo '{digest}  {_MAIN}' | sha256sum --check --status"
    undo = ["sh", "-c", f"{unchanged} && systemctl disable {now}{_POSTFIX}"]
    ledger.run(_COMMAND, f"enable {_POSTFIX}", ["systemctl", "enable", _POSTFIX], undo)


def set_up_by_hand() -> bool:
    """Whether somebody has set postfix up, whatever the names that it has for this machine."""
    return apt.installed("postfix") and bool(_more()[0])


def _more() -> "tuple[list[str], dict[str, str] | None]":
    """What somebody has set, beside Debian and 'microblog mail'; and what main.cf sets, None where that is a
    version's before the ledger."""
    ours = {entry["name"] for entry in ledger.entries(_COMMAND) if entry["kind"] == "postconf"}
    # An opendkim of somebody's may listen there, too: it is the usual port.
    signs = _OPENDKIM_CONFIG.exists() and _MILTER in services.answer("postconf", "-h", "smtpd_milters")
    if signs or _PASSWORDS.exists():
        return [], None
    found: dict[str, str] = {}
    for line in services.answer("postconf", "-n").splitlines():
        name, _, value = line.partition(" =")
        found[name] = value.strip()
    more = sorted(name for name in set(found) - ours if name and not _PLAIN.fullmatch(name))
    if found.get("relayhost") and "relayhost" not in ours:
        more.append("relayhost")
    if _MASTER_SHIPPED.exists() and _MASTER.exists() and _MASTER.read_bytes() != _MASTER_SHIPPED.read_bytes():
        more.append("master.cf")
    return more, found


def _tell_the_site(config: Config, domain: str) -> None:
    wanted = {"MAIL_SERVER": "localhost", "MAIL_PORT": "25"}
    # What another server asked for: postfix knows no log-in of the site's, which could not send any more.
    if config.mail and config.mail.username:
        wanted |= {"MAIL_USERNAME": "", "MAIL_PASSWORD": ""}
    if config.mail and config.mail.tls:
        wanted["MAIL_USE_SSL" if config.mail.tls == "tls" else "MAIL_USE_TLS"] = "false"
    if config.mail_from.rpartition("@")[2] != domain:
        # The sender's domain is the one whose mail is signed.
        wanted["MAIL_FROM"] = f"{config.mail_from.rpartition('@')[0] or 'noreply'}@{domain}"
    ledger.lines(
        _COMMAND,
        layout.env_file(),
        {name: f"{name}={envfile.quote(value)}" for name, value in wanted.items()},
    )


def send_test(recipient: str) -> str:
    """Send a message as the site does, and wait until somebody has taken it.

    :param recipient: empty for the first administrator.
    :return: who has taken it.
    :raises HostError: if a mail server does not take it, or not yet.
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
    where = f"{config.mail.host}:{config.mail.port}"
    try:
        kind = smtplib.SMTP_SSL if config.mail.tls == "tls" else smtplib.SMTP
        with kind(config.mail.host, config.mail.port, timeout=_SEND_SECONDS) as server:
            if config.mail.tls == "starttls":
                server.starttls()
            if config.mail.username:
                server.login(config.mail.username, config.mail.password)
            server.ehlo_or_helo_if_needed()
            for code, said in (
                server.mail(message["From"]),
                server.rcpt(recipient),
                server.data(message.as_bytes(policy=SMTP)),
            ):
                if code >= 400:
                    raise HostError(f"{where} does not take mail: {said.decode(errors='replace')[:200]}")
    except (OSError, smtplib.SMTPException) as error:
        raise HostError(f"{where} does not take mail: {error}", "journalctl -u postfix@-") from None
    queued = re.search(r"queued as (\w+)", said.decode(errors="replace"))
    if not names.is_loopback(config.mail.host):
        return f"Sent a test to {recipient}: {where} has taken it"
    if not queued or not services.booted():
        # It is on its way, no more: only postfix's log would tell who has taken it.
        return (
            f"Handed a test to {recipient} to this machine's mail server: its queue tells whether it goes out"
        )
    return _delivered(queued[1], recipient)


def _delivered(queue_id: str, recipient: str) -> str:
    """Follow a message in postfix's log until another server has it."""
    deadline = time.monotonic() + _DELIVER_SECONDS
    why = ""
    # One that is put off is tried again in minutes at the earliest: that is answer enough.
    while not why and time.monotonic() < deadline:
        log = services.run(
            "journalctl", "--no-pager", "-o", "cat", "--since=-15min", "SYSLOG_FACILITY=2"
        ).stdout
        for line in log.splitlines():
            if f"{queue_id}:" in line and (
                match := re.search(r"relay=([^,]+),.*status=(\w+) \((.*)\)", line)
            ):
                relay, status, why = match.groups()
                if status == "sent":
                    return f"Sent a test to {recipient}: taken by {relay} ({why[:120]})"
                if status == "bounced":
                    raise HostError(
                        f"the test came back from {relay}: {why[:200]}", "journalctl -u postfix@-"
                    )
        time.sleep(0.2)
    raise HostError(
        f"nobody has taken the test yet: {why[:200] or 'postfix does not say why'}",
        "providers often block port 25: a relay takes mail elsewhere (--relay); postqueue -p shows it",
    )


def records(domain: str) -> list[str]:
    """The lines for the domain's zone.

    :param domain: as for :func:`set_up`.
    :raises HostError: if there is no key for it yet.
    """
    privileges.require_root("set mail up", "sudo microblog mail")
    domain = _sender_domain(domain, Config.load(layout.env_file()))
    if not _key(domain).exists():
        raise HostError(f"there is no key for {domain} yet", f"microblog mail --domain {domain}")
    public = services.run("openssl", "pkey", "-in", str(_key(domain)), "-pubout").stdout
    key = "".join(line for line in public.splitlines() if "-----" not in line)
    # A string of a TXT record holds 255 characters (RFC 1035, 3.3.14).
    parts = " ".join(
        f'"{text}"' for text in [f"v=DKIM1; k=rsa; p={key}"[i : i + 250] for i in range(0, 900, 250)] if text
    )
    addresses = names.machine_addresses()
    return [
        f'{domain}. TXT "{spf(addresses)}"',
        f"{_SELECTOR}._domainkey.{domain}. TXT {parts}",
        f'_dmarc.{domain}. TXT "v=DMARC1; p=quarantine; rua=mailto:postmaster@{domain}"',
        *(
            ["(behind NAT: write the public address into SPF, as ip4:ADDRESS)"]
            if behind_nat(names.outward_addresses() or addresses)
            else []
        ),
    ]


def spf(addresses: Sequence[str]) -> str:
    """The record that tells who sends for a domain (RFC 7208).

    :param addresses: the machine's; those that the internet does not know are left out.
    """
    found = [ipaddress.ip_address(address) for address in addresses if names.is_global(address)]
    return " ".join(["v=spf1", "a", "mx", *(f"ip{one.version}:{one}" for one in found), "-all"])


def behind_nat(addresses: Sequence[str]) -> bool:
    """Whether mail leaves from another address than the machine's own, which is not seen from here: each
    kind, IPv4 or IPv6, has its own way out.

    :param addresses: those by which it goes out.
    """
    known = [ipaddress.ip_address(address) for address in addresses if names.is_global(address)]
    local = [ipaddress.ip_address(address) for address in addresses]
    inside = any(one.version == 4 and not one.is_link_local for one in local)
    return not known or (inside and not any(one.version == 4 for one in known))


def _sender_domain(wanted: str, config: Config) -> str:
    first = next(iter(config.host_names), "").partition(":")[0]
    sender = config.mail_from.rpartition("@")[2]
    domain = names.ascii_name(wanted or sender or first or names.machine_names()[0])
    # Others turn away who greets with less than a whole name (RFC 5321, 2.3.5).
    if not _DOMAIN.fullmatch(domain) or "." not in domain:
        raise HostError(f"{domain!r} is no domain that others know", "microblog mail --domain example.org")
    return domain


def _settings(relay: "Relay | None", domain: str) -> dict[str, str]:
    """postfix's, that differ from Debian's own."""
    common = {
        "inet_interfaces": "loopback-only",
        "smtpd_banner": "$myhostname ESMTP",
        "smtp_helo_name": next((name for name in names.machine_names() if names.is_public(name)), domain),
    }
    # Who has a mailbox under the sender's domain has it where the relay, or the domain's MX, says.
    here = _mydestination()
    others = [name for name in here if name.lower() != domain]
    if others != here and (relay or domain not in names.machine_names() or _taken_elsewhere(domain)):
        common["mydestination"] = ", ".join(others) or "localhost"
    if relay is None:
        return {
            **common,
            "relayhost": "",
            "smtp_sasl_auth_enable": "no",
            "smtp_sasl_password_maps": "",
            "smtp_tls_security_level": "may",
            # Of a relay at port 465: nobody else's mail server begins so.
            "smtp_tls_wrappermode": "no",
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


def _mydestination() -> list[str]:
    """The domains whose mailboxes are on this machine, as postfix has them; what stands there for the
    machine's own name, or for its domain, as that."""
    written, meant = (
        services.answer("postconf", option, "mydestination").replace(",", " ").split()
        for option in ("-h", "-hx")
    )
    if len(written) != len(meant):
        return meant
    return [full if short in _OWN else short for short, full in zip(written, meant, strict=True)]


def _taken_elsewhere(domain: str) -> bool:
    """Whether another server than this machine takes the domain's mail, to what its MX records say."""
    found = mx.hosts(domain)
    mine = {*names.machine_names(), *names.machine_addresses(), "127.0.0.1", "::1"}
    # One MX without a name: nobody takes it (RFC 7505).
    return bool(found) and found != [""] and not any({host, *_addresses(host)} & mine for host in found or [])


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


def _postconf(**values: str) -> None:
    try:
        ledger.settings(_COMMAND, "postconf", values, then=_RESTART)
    except OSError as error:
        raise HostError(f"postfix refuses: {error.strerror}", "dpkg-reconfigure postfix") from None


def _write_password(relay: Relay) -> None:
    text = f"[{relay.host}]:{relay.port} {relay.user}:{relay.password}\n"
    ledger.write(_COMMAND, _PASSWORDS, text, 0o600)
    database = f"{_PASSWORDS}.db"
    ledger.run(_COMMAND, database, ["true"], ["rm", "-f", database])
    if services.run("postmap", str(_PASSWORDS)).returncode:
        raise HostError(f"postmap does not read {_PASSWORDS}", "see the user's name and password")


def _forget_password() -> None:
    """Delete that of a relay's which nothing goes through any more."""
    ledger.forget(_COMMAND, _PASSWORDS)
    for path in (_PASSWORDS, Path(f"{_PASSWORDS}.db")):
        path.unlink(missing_ok=True)


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
    # Kept by --off: its record is published. Purging the package takes it away.
    ledger.run("mail's key", str(key), ["true"], ["rm", "-f", str(key)])
    config = (
        "# Written by 'microblog mail'.\n"
        f"Domain {domain}\nSelector {_SELECTOR}\nKeyFile {key}\n"
        f"Socket inet:{_MILTER_PORT}@127.0.0.1\nMode s\nCanonicalization relaxed/simple\n"
        "UserID opendkim\nPidFile /run/opendkim/opendkim.pid\nSyslog yes\nUMask 007\n"
        # By which a mail program ends somebody's mails (RFC 8058, 4): opendkim's own list lacks the second.
        "SignHeaders *,+List-Unsubscribe,+List-Unsubscribe-Post\n"
        "OversignHeaders From\nInternalHosts csl:127.0.0.1,::1,localhost\n"
    )
    ledger.write(_COMMAND, _OPENDKIM_CONFIG, config, 0o644)
    unit = f"[Service]\nExecStart=\nExecStart=/usr/sbin/opendkim -x {_OPENDKIM_CONFIG}\n"
    reload = [["systemctl", "daemon-reload"], ["systemctl", "try-restart", _OPENDKIM]]
    ledger.write(_COMMAND, _OPENDKIM_UNIT, unit, 0o644, then=reload)
    services.run("systemctl", "daemon-reload")
    ledger.enable(_COMMAND, _OPENDKIM)
