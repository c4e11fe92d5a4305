"""``microblog setup --dry-run``: what setup would do here. Nothing is changed, made or started."""

import os
from collections.abc import Iterator

from microblog.config import Config
from microblog.errors import HostError
from microblog.host.database import kinds, memory, schema, server
from microblog.host.handmade import found
from microblog.host.machine import layout, privileges, services
from microblog.host.site import certificate, envfile, maintenance, nginx, supervisor

# A database server that runs answers sooner.
_DATABASE_SECONDS = 5


def plan() -> list[str]:
    """In the order in which it would be done.

    :raises HostError: if not run by root, who alone sees it all.
    """
    privileges.require_root("see what setup would do", "sudo microblog setup --dry-run")
    if by_hand := found.in_the_way():
        return by_hand.lines()
    told: list[str] = []
    try:
        for line in _steps():
            told.append(f"Would {line}")
    except HostError as error:
        told.append(f"Would stop there: {error.message}{f' ({error.hint})' if error.hint else ''}")
    return told or ["Nothing would be done"]


def _steps() -> Iterator[str]:
    for folder in layout.missing_directories():
        yield f"make {folder}"
    web = nginx.installed()
    _, lacks = envfile.lacking(layout.env_file(), server.default_url(), proxied=web, new=supervisor.is_new())
    if lacks:
        yield f"write {', '.join(lacks)} to {layout.env_file()}"
    if layout.RESTORING.is_dir():
        yield "complete the restore that was interrupted"
    config = Config.load(layout.env_file(), {**os.environ, **lacks})
    if web:
        if certificate.due(config.host_names, plain=not config.https):
            yield f"make a certificate for this machine: {certificate.CERTIFICATE}"
        yield from nginx.plan(config)
    if not supervisor.known() and not supervisor.switched_off():
        yield "make the application known to supervisor"
    yield from _database(config)
    yield from _services(web)


def _database(config: Config) -> Iterator[str]:
    database, path = kinds.of(config.database_url), memory.drop_in()
    if isinstance(database, kinds.Mysql) and database.ours and path:
        now = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        if now != memory.fitting() and (not now or memory.ours(now)):
            size = "less" if memory.fitting() else "its own"
            yield f"have the database server use {size} memory, if nobody else uses it"
    present = database.revisions(lambda _: None, wait_seconds=_DATABASE_SECONDS)
    heads = schema.known(schema.migrations())[1]
    if not present:
        yield f"make the database where it is missing, and its schema ({database.name})"
    elif present != heads:
        yield (
            f"back up, and bring the database's schema from {', '.join(sorted(present))} to"
            f" {', '.join(sorted(heads))}, with the site away for as long"
        )


def _services(web: bool) -> Iterator[str]:
    off = supervisor.switched_off() or (web and nginx.switched_off())
    if off:
        yield "leave the site switched off, its links were taken away"
        return
    if services.state(supervisor.UNIT) not in ("active", "unknown"):
        yield f"start {supervisor.UNIT}"
    if supervisor.program_state() not in ("RUNNING", "STARTING"):
        yield "start the application"
    elif supervisor.renewed() or supervisor.settings_are_newer():
        yield "start the application anew, with the settings as they are now"
    if web and (program := nginx.neighbour()):
        yield f"leave the web's ports to {program}"
    elif web and services.state(nginx.UNIT) != "active":
        yield f"start {nginx.UNIT}"
    elif web and nginx.stale():
        yield "have nginx read its configuration anew"
    if maintenance.FLAG.exists():
        yield "take the maintenance page away"
