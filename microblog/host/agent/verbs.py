"""The table: all that the administrators' pages can ask of root. What is not here, nobody can ask for.

A verb is one entry: how it is answered, the function that does it, and each of its arguments with its
check. The functions are those of the ``microblog`` command; what stands here only fits them.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from microblog import protocol
from microblog.config import Config
from microblog.errors import HostError
from microblog.host import setup as whole
from microblog.host.agent import arguments, destinations, downloads, jobs, logs, seen, spool
from microblog.host.agent.arguments import Argument, flag, needed, number, one_of, several, text, values
from microblog.host.backups import backup, drill, elsewhere, restore
from microblog.host.extras import dns, https, postfix
from microblog.host.machine import layout, lock, services
from microblog.host.site import envfile, secrets, supervisor, telling
from microblog.host.updates import automatic, journal, update

Say = Callable[[str], None]
# How a verb is answered: at once, changing nothing; at once; by a job; after its bytes; by bytes.
ASK, ACT, JOB, TAKE, GIVE = "ask", "act", "job", "take", "give"


@dataclass(frozen=True)
class Verb:
    """:ivar work: of a job it is given what to tell its progress to first; of TAKE and GIVE, the stream.
    :ivar before: of GIVE, what sees before the first byte whether it can be given.
    """

    kind: str
    work: Callable[..., Any]
    takes: Mapping[str, Argument] = field(default_factory=dict)
    before: Callable[..., Any] = lambda **_: None


# What a page may set. None of them names a program, a file, or where the database is.
SETTABLE = {
    "SITE_NAME": text(40),
    "HOST_NAMES": text(1000, r"[A-Za-z0-9\[][^\s,]*(, ?[A-Za-z0-9\[][^\s,]*)*"),
    "ADMINS": text(1000, r"[A-Za-z0-9][^\s,]*(, ?[A-Za-z0-9][^\s,]*)*"),
    "GRAVATAR": one_of("true", "false"),
    "MS_TRANSLATOR_KEY": text(200, r"[A-Za-z0-9._~+/=-]*"),
    "MS_TRANSLATOR_REGION": text(60, r"[A-Za-z0-9._-]*"),
}


def _backup(say: Say) -> dict[str, Any]:
    say("Backing up ...")
    path, manifest = backup.backup()
    elsewhere.send(path, manifest, say)
    return {"backup": path.name, "bytes": path.stat().st_size, "rows": sum(manifest["rows"].values())}


def _restore(say: Say, backup: str) -> dict[str, Any]:
    """:param backup: the name of one that is listed; empty for the uploaded one."""
    journal.see_none("nothing is restored")
    path = downloads.find(backup) if backup else spool.whole()
    destinations.tell_of_restore(f"The backup {backup}" if backup else "A backup that was uploaded", say)
    manifest = restore.restore(path, say)
    if not backup:
        spool.discard()
    whole.setup(say=say)
    return {"created": manifest.get("created"), "rows": sum(manifest["rows"].values())}


def _drill(say: Say) -> dict[str, Any]:
    return drill.drill(say)


def _updates() -> dict[str, Any]:
    """What an update would change, by the lists that apt has; what is updated by night; the last one."""
    plan = update.available(refresh=False)
    return {
        "changes": [vars(one) for one in plan.changes],
        "automatic": vars(automatic.state()),
        "last": secrets.cleaned(journal.last()),
    }


def _update_look(say: Say) -> None:
    for line in update.available(refresh=True).lines():
        say(line)


def _update(say: Say) -> None:
    plan = update.available(refresh=True)
    for line in plan.lines():
        say(line)
    if not plan.changes:
        return
    update.prepare(plan, say)
    # From here on it goes on by itself, whoever looks.
    begun = update.begin()
    for line in update.follow():
        say(line)
    update.see_good(update.ended(begun))


def _update_automatic(say: Say, what: str) -> None:
    before = automatic.state()
    now = automatic.Automatic(what in ("security", "all"), what in ("site", "all"))
    automatic.switch(now, say)
    if (before.security and not now.security) or (before.site and not now.site):
        telling.tell(
            "less is updated by night",
            f"By night this machine updates {now.text()} from now on, and no longer {before.text()}: somebody"
            " has chosen so in the administrators' pages.\n\n"
            "If that was none of you: change your passwords, and choose anew on the machine itself"
            " (microblog update --automatic); /var/log/microblog/agent.log says when, and in whose name.",
            say,
        )


def _settings(say: Say, values: dict[str, str]) -> None:
    # Read as the application will: what it would refuse is not written.
    now, before = Config.load(layout.env_file(), {**os.environ, **values}), Config.load(layout.env_file())
    with lock.sole(say):
        envfile.change(layout.env_file(), values)
    say(f"Set {', '.join(values)}")
    others = now.admins != before.admins
    # Without ADMINS, its administrators have been told.
    if others and (gone := set(telling.readers(before)) - set(telling.readers(now))):
        # Who takes a site over would have nobody hear of it.
        text = f"Mail about this machine goes to {', '.join(now.admins) or 'its administrators'} from now on."
        telling.tell("others are told of this machine", text, say, to=sorted(gone))
    whole.setup(say=say)


def _https(say: Say, domains: tuple[str, ...]) -> None:
    with _dns_is_told(say):
        https.enable(domains, "", "", say, by_root=False)


def _https_dns(say: Say, domains: tuple[str, ...], provider: str, fields: dict[str, str], wait: int) -> None:
    account = dns.typed(provider, fields, None if wait == _AS_USUAL else wait)
    with _dns_is_told(say):
        https.enable(domains, "", "", say, account, by_root=False)


@contextmanager
def _dns_is_told(say: Say) -> Iterator[None]:
    """Nobody changes unnoticed what opens the DNS, or takes it away."""
    before = dns.accounts()
    try:
        yield
    finally:
        after = dns.accounts()
        if after != before:
            now = f"by an account at {', '.join(after)}" if after else "without an account of the DNS"
            telling.tell(
                "the DNS is opened by another account",
                f"The site's certificate is got {now} from now on: somebody has chosen so in the"
                " administrators' pages.\n\n"
                "If that was none of you: change your passwords, have your provider end what opens the"
                " account, and choose anew on the machine itself (microblog https);"
                " /var/log/microblog/agent.log says when, and in whose name.",
                say,
            )


def _https_redirect(say: Say, on: bool) -> None:
    https.redirect(on, say)


def _https_own(say: Say) -> None:
    https.own(say)


def _https_off(say: Say, now: bool) -> None:
    with _dns_is_told(say):
        https.disable(say, now=now, by_root=False)


def _mail_is_told(say: Say, how: str) -> None:
    """By the way that mail takes so far: who takes a site over would let none out on the next."""
    if telling.tell(
        "mail goes another way",
        f"This machine's mail is to go {how}: somebody has chosen so in the administrators' pages.\n\n"
        "If that was none of you: change your passwords, and choose anew on the machine itself"
        " (microblog mail); /var/log/microblog/agent.log says when, and in whose name.",
        say,
    ):
        postfix.let_out()


def _mail_direct(say: Say, domain: str) -> dict[str, Any]:
    _mail_is_told(say, "directly to its recipients")
    return {"records": postfix.set_up(domain, None, say)}


def _mail_relay(say: Say, domain: str, host: str, port: int, user: str, password: str) -> dict[str, Any]:
    if bool(user) != bool(password):
        raise HostError("a name and a password belong together", "give both or neither")
    _mail_is_told(say, f"through {host}, port {port}")
    return {"records": postfix.set_up(domain, postfix.Relay(host, port, user, password), say)}


def _mail_off(say: Say) -> None:
    _mail_is_told(say, "as it did before it was set up, or nowhere")
    postfix.disable(say)


def _mail_test(say: Say, to: str) -> None:
    say(postfix.send_test(to))


def _setup(say: Say) -> None:
    whole.setup(say=say)


def _restart(say: Say) -> None:
    with lock.sole(say):
        supervisor.restart()
        supervisor.wait_for_answer(say)
    say("The site has begun anew")
    whole.setup(say=say)


def _machine(action: str) -> Callable[[Say], None]:
    def work(say: Say) -> None:
        if not services.booted():
            raise HostError("there is no systemd here", f"sudo {action}")
        # In a moment: the job's end is kept first, and the browser has its answer.
        done = services.run(
            "systemd-run", "--on-active=2", "--timer-property=AccuracySec=1", "systemctl", action
        )
        if done.returncode:
            raise HostError(f"systemd does not {action}", f"sudo {action}")
        say(f"systemctl {action} in a moment")

    return work


# Seconds until a record is seen everywhere.
_AS_USUAL = -1
# Of one word, in which the file's own syntax has no sign.
_ACCOUNT = text(300, r"[A-Za-z0-9._~+/=:-]+")
_DOMAIN = text(253, r"[A-Za-z0-9][A-Za-z0-9.-]*")
_BACKUP = text(80, r"microblog-\d{8}T\d{6}Z-\w{1,20}\.tar\.gz")

VERBS: dict[str, Verb] = {
    # What status and doctor see.
    "look": Verb(ASK, seen.look, {"fresh": Argument(flag, False)}),
    "job": Verb(ASK, jobs.last),
    "log": Verb(
        ASK, logs.last, {"log": Argument(one_of(*logs.SOURCES)), "lines": Argument(number(1, 500), 100)}
    ),
    "backups": Verb(ASK, downloads.listed),
    "backup": Verb(JOB, _backup),
    "delete-backup": Verb(ACT, downloads.delete, {"name": Argument(needed(_BACKUP))}),
    "download": Verb(GIVE, downloads.give, {"name": Argument(needed(_BACKUP))}, downloads.find),
    "restore": Verb(JOB, _restore, {"backup": Argument(_BACKUP)}),
    "elsewhere": Verb(ASK, destinations.state),
    "backup-to": Verb(JOB, destinations.choose, destinations.PLACE),
    "backup-off": Verb(ACT, destinations.off),
    "sheet": Verb(ACT, destinations.show_sheet),
    "sheet-kept": Verb(ACT, destinations.sheet_is_kept),
    "backups-there": Verb(JOB, destinations.there, destinations.PLACE),
    "restore-from": Verb(
        JOB,
        destinations.fetch,
        {
            **destinations.PLACE,
            **{"go_on": Argument(flag, True), "snapshot": Argument(text(64, r"[0-9a-f]{8,64}"), "")},
        },
    ),
    "upload": Verb(ASK, spool.state),
    "upload-begin": Verb(
        ACT, spool.begin, {"size": Argument(number(1, 2**42)), "mark": Argument(needed(text(300)))}
    ),
    "upload-piece": Verb(
        TAKE,
        spool.take,
        {"offset": Argument(number(0, 2**42)), "length": Argument(number(1, protocol.PIECE_MAX))},
    ),
    "upload-discard": Verb(ACT, spool.discard),
    "settings": Verb(JOB, _settings, {"values": Argument(values(SETTABLE), secret=True)}),
    "https": Verb(JOB, _https, {"domains": Argument(several(needed(_DOMAIN), 10))}),
    "https-dns": Verb(
        JOB,
        _https_dns,
        {
            "domains": Argument(several(needed(_DOMAIN), 10)),
            "provider": Argument(one_of(*protocol.DNS_FIELDS)),
            "fields": Argument(
                values({name: _ACCOUNT for names in protocol.DNS_FIELDS.values() for name in names}),
                secret=True,
            ),
            "wait": Argument(number(_AS_USUAL, protocol.DNS_WAIT_MAX), _AS_USUAL),
        },
    ),
    "https-own": Verb(JOB, _https_own),
    "https-redirect": Verb(JOB, _https_redirect, {"on": Argument(flag)}),
    "https-off": Verb(JOB, _https_off, {"now": Argument(flag, False)}),
    "mail-direct": Verb(JOB, _mail_direct, {"domain": Argument(text(253, arguments.HOST), "")}),
    "mail-relay": Verb(
        JOB,
        _mail_relay,
        {
            "domain": Argument(text(253, arguments.HOST), ""),
            "host": Argument(needed(text(253, arguments.HOST))),
            "port": Argument(number(1, 65535), 587),
            # In postfix's table of passwords a space, and in a name a colon, would mean something.
            "user": Argument(text(200, r"[^\s:]+"), ""),
            "password": Argument(text(200, r"[^\s]+"), "", secret=True),
        },
    ),
    "drill": Verb(JOB, _drill),
    "updates": Verb(ASK, _updates),
    "update-look": Verb(JOB, _update_look),
    "update": Verb(JOB, _update),
    "update-automatic": Verb(
        JOB, _update_automatic, {"what": Argument(one_of("security", "site", "all", "none"))}
    ),
    "mail-off": Verb(JOB, _mail_off),
    "mail-test": Verb(JOB, _mail_test, {"to": Argument(needed(text(320, arguments.MAILBOX)))}),
    "mail-records": Verb(ASK, lambda: postfix.records("")),
    "setup": Verb(JOB, _setup),
    "restart": Verb(JOB, _restart),
    "reboot": Verb(JOB, _machine("reboot")),
    "poweroff": Verb(JOB, _machine("poweroff")),
}


def checked(verb: Any, given: Any) -> tuple[Verb, dict[str, Any]]:
    """A verb of the table with its arguments.

    :raises Refused: there is no such verb, or an argument is wrong.
    """
    if not isinstance(verb, str) or verb not in VERBS:
        raise arguments.Refused(f"there is no verb {str(verb)[:40]!r}")
    entry = VERBS[verb]
    return entry, arguments.checked(entry.takes, given)


def do(verb: str, given: Mapping[str, Any], say: Say) -> Any:
    """A job's work."""
    entry, found = checked(verb, dict(given))
    if entry.kind != JOB:
        raise arguments.Refused(f"{verb} is no job")
    typed = arguments.secrets(entry.takes, found)

    def hide(text: str) -> str:
        return secrets.without(text, typed, "***")

    try:
        return entry.work(lambda line: say(hide(line)), **found)
    except HostError as error:
        raise HostError(hide(error.message), hide(error.hint)) from None
    except Exception as error:
        if not any(typed):
            raise
        # Its text and its traceback would be kept, with whatever they name.
        raise HostError(hide(f"{type(error).__name__}: {error}")) from None
