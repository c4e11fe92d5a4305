"""``microblog status``: the site at a glance, for people and for monitors."""

import os
import re
import shutil
import socket
import ssl
import time
from calendar import timegm
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import microblog
from microblog import own_authority
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.backups import backup, drill, elsewhere
from microblog.host.backups import journal as backup_journal
from microblog.host.database import claim, kinds, schema
from microblog.host.health import failed
from microblog.host.machine import layout, ledger, privileges, services
from microblog.host.site import certificate, front, maintenance, nginx, supervisor
from microblog.host.updates import journal

CERTIFICATE_DAYS = 14
BACKUP_HOURS = 48
FREE_PERCENT = 5
_HOUR = 3600.0
# How the ledger writes a time.
_WHEN = "%Y-%m-%dT%H:%M:%SZ"
# What a database server that runs takes to answer; one that does not is not waited for.
DATABASE_SECONDS = 5
_PLACES = (layout.STATE, layout.LOGS)


@dataclass(frozen=True)
class Fact:
    """One line of the status.

    :ivar text: for people.
    :ivar ok: whether a monitor may stay quiet.
    :ivar values: for programs.
    """

    text: str
    ok: bool = True
    values: dict[str, Any] = field(default_factory=dict)


def status() -> dict[str, Fact]:
    """What runs, on what, and for how long it can.

    :raises HostError: if the settings cannot be read.
    """
    config = Config.load(layout.env_file())
    return {name: _safely(name, look, config) for name, look in _FACTS.items()}


def _safely(name: str, look: Callable[[Config], Fact], config: Config) -> Fact:
    """What cannot be told is one line, and hides no other."""
    try:
        return look(config)
    except HostError as error:
        return Fact(error.message, False)
    except OSError as error:
        return Fact(f"{error.filename or name}: {error.strerror}", False)


def _version(_: Config) -> Fact:
    return Fact(microblog.__version__)


def _database(config: Config) -> Fact:
    database = kinds.of(config.database_url)
    try:
        present = database.revisions(lambda _: None, wait_seconds=DATABASE_SECONDS)
    except HostError as error:
        return Fact(f"{database.name}; {error.message}", False, {"kind": database.kind})
    current = present == schema.known(schema.migrations())[1]
    revision = " ".join(sorted(present))
    return Fact(
        database.name
        if current
        else f"{database.name}; its schema ({revision or 'none'}) is not this version's",
        current,
        {"kind": database.kind, "schema": revision},
    )


def _application(_: Config) -> Fact:
    if maintenance.FLAG.exists():
        return Fact("in maintenance", False)
    state = supervisor.program_state().lower()
    if not supervisor.answers(supervisor.PATIENCE):
        if supervisor.impostor():
            return Fact(f"{state}; another program answers at {layout.app_address()}", False)
        return Fact(f"{state}, does not answer", False)
    # supervisor calls it starting for some seconds more than it is.
    return Fact(state, state in ("running", "starting"))


def _visitors(config: Config) -> Fact:
    if nginx.switched_off() or supervisor.switched_off():
        return Fact("the site is switched off: its link was taken away", False)
    if maintenance.FLAG.exists():
        return Fact("see the maintenance page", False)
    sight = front.look(config)
    if sight is None:
        return Fact(f"are answered by gunicorn itself, at {config.bind or layout.app_address()}")
    if sight.good:
        return Fact(f"see it at {sight.url}")
    return Fact(sight.text(), False)


def _claim(config: Config) -> Fact:
    if not config.claim_code:
        return Fact("nobody has to: CLAIM_CODE is none")
    try:
        code = claim.code(config)
    except HostError:
        return Fact("not known: the database does not answer")
    if not code:
        return Fact("the site has an owner", values={"new": False})
    return Fact(
        f"it is new: open {claim.url(config)} and enter the code {code}", values={"new": True, "code": code}
    )


def _supervisor(_: Config) -> Fact:
    state = services.state(supervisor.UNIT)
    return Fact(state, state in ("active", "unknown"))


def _nginx(_: Config) -> Fact:
    if not nginx.installed():
        return Fact("not installed")
    if other := nginx.neighbour():
        return Fact(f"not started: {other} has its ports")
    state = services.state(nginx.UNIT)
    return Fact(state, state in ("active", "unknown"))


def _certificate(_: Config) -> Fact:
    if not nginx.installed():
        return Fact("not used")
    path = certificate.shown()[0]
    if not path.exists():
        return Fact("none", False)
    done = services.run(*("openssl", "x509", "-in", str(path), "-noout", "-enddate"))
    lines = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode or "notAfter" not in lines:
        return Fact("unreadable", False)
    ends = ssl.cert_time_to_seconds(lines["notAfter"])
    days = int((ends - time.time()) // 86400)
    known = own_authority.read() if path == certificate.CERTIFICATE else None
    own = certificate.ours(path)
    whose = f", of its own authority, SHA-256 {known.sha256}" if known else ", self-signed" if own else ""
    return Fact(
        f"until {datetime.fromtimestamp(ends, timezone.utc):%Y-%m-%d}, {days} days{whose}",
        days >= CERTIFICATE_DAYS,
        {"days": days, "self_signed": own},
    )


def _disk(config: Config) -> Fact:
    found = {}
    for place in {*_PLACES, kinds.of(config.database_url).data}:
        if place and place.is_dir():
            usage = shutil.disk_usage(place)
            found[str(place)] = {
                "free_mib": usage.free // 2**20,
                "free_percent": round(100 * usage.free / usage.total),
            }
    if not found:
        return Fact("unknown", False)
    name = min(sorted(found), key=lambda place: found[place]["free_percent"])
    least = found[name]
    ok = least["free_percent"] >= FREE_PERCENT
    where = "" if ok else f" of {name}"
    return Fact(f"{least['free_mib']} MiB{where} free, {least['free_percent']} %", ok, found)


def _backup(_: Config) -> Fact:
    entries = backup.listing()
    if not entries:
        # A new machine has none; the first night brings one. Setup has made itself known to supervisor once.
        began = [entry["when"] for entry in ledger.entries("supervisor")] if os.geteuid() == 0 else []
        hours = (time.time() - timegm(time.strptime(min(began), _WHEN))) / 3600 if began else 0.0
        return Fact("none yet", hours <= BACKUP_HOURS, {"hours": None})
    times = [(path.stat().st_mtime, path.name) for path, _ in entries]
    # By a clock that was wrong some may lie ahead: they would be young for years.
    past = [one for one in times if one[0] <= time.time() + _HOUR]
    if not past:
        return Fact("none since the clock was set back", False, {"hours": None})
    when, name = max(past)
    hours = (time.time() - when) / _HOUR
    return Fact(f"{hours:.0f} hours ago, {name}", hours <= BACKUP_HOURS, {"hours": round(hours, 1)})


def _update(_: Config) -> Fact:
    begun, ended = journal.read(), journal.last()
    if begun:
        return Fact(f"under way, at {begun.step}", True, {"step": begun.step})
    if not ended:
        return Fact("none yet")
    why = "" if ended["result"] == journal.UPDATED else f": {ended['why']}"
    text = f"{ended['result']}, {ended['ended']}{why}"
    # One that was taken back has left the site well, and was told by mail: nobody has to do anything.
    return Fact(text, ended["result"] != journal.FAILED, {"result": ended["result"], "ended": ended["ended"]})


def _units(_: Config) -> Fact:
    bad = failed.failed()
    return Fact(f"failed: {', '.join(bad)}" if bad else "none has failed", not bad, {"failed": bad})


def _elsewhere(_: Config) -> Fact:
    """Whether the backups have a second place, and the last one is there."""
    if os.geteuid() != 0:
        return Fact("root alone can tell")
    now = elsewhere.chosen()
    if now is None:
        return Fact("backups stay on this machine", values={"place": None})
    sent = backup_journal.read().get("sent")
    hours = (time.time() - sent["when"]) / 3600 if sent else None
    values = {"place": now.place.address, "hours": None if hours is None else round(hours, 1)}
    when = "none sent yet" if hours is None else f"{hours:.0f} hours ago"
    failure = backup_journal.read().get("failed", {}).get("send")
    why = f"; {failure['message']}" if failure else ""
    return Fact(
        f"{when}, {now.place.address}{why}", not failure and (hours is None or hours <= BACKUP_HOURS), values
    )


def _drill(_: Config) -> Fact:
    """Whether a backup was seen to be good."""
    if os.geteuid() != 0:
        return Fact("root alone can tell")
    known = backup_journal.read()
    drilled, failure, now = known.get("drilled"), known.get("failed", {}).get("drill"), time.time()
    days = (now - (drilled["when"] if drilled else known.get("since", now))) / 86400
    text = f"{days:.0f} days ago, {drilled['rows']} rows" if drilled else "no backup was tried yet"
    if failure:
        text = f"failed: {failure['message']}"
    values = {"days": round(days, 1) if drilled else None, "failed": bool(failure)}
    return Fact(text, not failure and days <= drill.OVERDUE_DAYS, values)


def _search(config: Config) -> Fact:
    if not config.elasticsearch_url:
        return Fact("in the database")

    def look() -> str:
        from microblog.models import indexing

        with microblog.create_app(config).app_context():
            return f"\n{indexing.pending()} {int(indexing.is_current())}"

    done, text = privileges.call(look)
    if not done:
        return Fact("Elasticsearch; what it lacks is not known", False)
    pending, current = map(int, text.strip().splitlines()[-1].split())
    lacks = f"{pending} posts have yet to be told" if pending else "no change waits"
    state = lacks if current else f"it has not all posts yet, the database answers; {lacks}"
    return Fact(f"Elasticsearch; {state}", bool(current), {"pending": pending, "current": bool(current)})


def _host(config: Config) -> Fact:
    names = config.host_names or (socket.gethostname(),)
    return Fact(", ".join(re.sub(r"[^\x21-\x7e]", "?", name) for name in names))


_FACTS: dict[str, Callable[[Config], Fact]] = {
    "version": _version,
    "host": _host,
    "database": _database,
    "application": _application,
    "visitors": _visitors,
    "claim": _claim,
    "supervisor": _supervisor,
    "nginx": _nginx,
    "certificate": _certificate,
    "search": _search,
    "disk": _disk,
    "backup": _backup,
    "update": _update,
    "units": _units,
    "elsewhere": _elsewhere,
    "drill": _drill,
}
