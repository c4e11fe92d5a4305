"""``microblog setup``: make a machine whole.

Creates what is missing, changes nothing that is there, can be interrupted
anywhere and run again. Run by the package's postinst, and at every boot.
"""

import os
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress

from microblog import beginning
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.backups import upgrade
from microblog.host.database import claim, kinds, memory, server
from microblog.host.handmade import found
from microblog.host.machine import layout, ledger, lock, privileges, services
from microblog.host.site import (
    certificate,
    envfile,
    front,
    hsts,
    identity,
    maintenance,
    nginx,
    supervisor,
)

_SEE_SECONDS = 10.0
# A database on another machine is not waited for while the machine boots.
_BOOT_WAIT_SECONDS = 5.0


def say(text: str) -> None:
    """One line about what was done or is being waited for."""
    print(text, flush=True)


def setup(boot: bool = False, say: Callable[[str], None] = say, *, enable: bool = False) -> None:
    """Make what is missing and, outside of the boot, see the site answer.

    :param boot: systemd starts supervisor and nginx after this: waiting for them here
        would wait for ever.
    :param enable: link the site again where its administrator has taken the links away.
    :param say: is told what was done and what is being waited for.
    :raises HostError: with what has to be mended.
    """
    privileges.require_root("set the machine up", "sudo microblog setup")
    os.umask(0o022)
    with lock.sole(say):
        _setup(boot, say, enable)
    beginning.ready()


def _setup(boot: bool, say: Callable[[str], None], enable: bool) -> None:
    changed = False
    # What a power cut has left half done.
    ledger.settle()
    layout.make_directories()
    if boot:
        from microblog.host.extras import harden

        harden.expire(say)
        # Of backups that a power cut has ended: none is being written yet.
        for partial in layout.BACKUPS.glob(".microblog-*.partial"):
            partial.unlink()
    path = layout.env_file()
    if by_hand := found.in_the_way():
        if layout.RESTORING.is_dir():
            from microblog.host.backups import restore

            restore.finish(say)
        for line in by_hand.lines():
            say(line)
        return
    web = nginx.installed()
    if boot and envfile.is_first(path):
        # Before the key is written: a power cut in between begins anew.
        layout.FIRST_BOOT.write_text(f"{time.clock_gettime(time.CLOCK_BOOTTIME):.0f}\n")
    if added := envfile.complete(path, server.default_url(), proxied=web, new=supervisor.is_new()):
        changed = True
        say(f"Wrote {', '.join(added)} to {path}")
    # One that a power cut has ended goes on, before anybody writes to what it replaces.
    if layout.RESTORING.is_dir():
        from microblog.host.backups import restore

        changed |= restore.finish(say)
    if web and (kept := nginx.passes_to()) and not Config.load(path).bind:
        changed = True
        envfile.change(path, {"BIND": kept})
        say(f"{nginx.AVAILABLE} was kept from an older version: BIND={kept} is set for it")
    config = Config.load(path)
    if enable:
        nginx.switch_on()
        supervisor.switch_on()

    # What nginx needs comes before the database, so that, whatever becomes of
    # that, visitors find a page of ours.
    if web:
        if certificate.ensure(config.host_names, plain=not config.https):
            changed = True
            say(f"Made a certificate for this machine: {certificate.CERTIFICATE}")
        hsts.write()
        for line in nginx.ensure(config):
            changed = True
            say(line[0].upper() + line[1:])
        # One that does not run, and perhaps cannot, is started when all else is done.
        if not boot and services.state(nginx.UNIT) == "active" and nginx.stale():
            nginx.apply()
    changed |= identity.follow(say, _mail_by_hand)
    if supervisor.ensure():
        changed = True
        say("Made the application known to supervisor")

    changed |= memory.ensure(config.database_url, say)
    try:
        changed |= upgrade.migrate(
            config,
            say,
            _BOOT_WAIT_SECONDS if boot and kinds.of(config.database_url).elsewhere else None,
            # The application takes as long to load as its tables to be made: both at once.
            beginning.tables if boot else nullcontext,
        )
    except HostError as error:
        if not (boot and kinds.of(config.database_url).elsewhere and services.booted()):
            raise
        # nginx, and every other site of the machine, wait for this; the database may take its time.
        say(f"{error.message}: it is tried again in the background")
        # One that has failed would keep its name.
        services.run("systemctl", "reset-failed", f"{layout.LATER}.service")
        services.run(
            *("systemd-run", "--no-block", f"--unit={layout.LATER}"),
            *(f"--property=OnFailure=microblog-failed@{layout.LATER}.service", "/usr/bin/microblog", "setup"),
        )
        return

    off = supervisor.switched_off() or (web and nginx.switched_off())
    if not boot and not off:
        try:
            supervisor.apply()
            supervisor.wait_for_answer(say)
        except HostError as error:
            raise upgrade.failed(config, error, say) from None
    if not boot and web and nginx.stale():
        nginx.apply()
    upgrade.confirm()
    maintenance.off(say)
    if not boot:
        from microblog.host.health import failed

        failed.mended("microblog-setup", layout.LATER)
    if off:
        say("The site is switched off, its links were taken away: 'microblog setup --enable' links it again")
    elif not boot:
        _see(config, say)
        with suppress(HostError):
            if changed and (new := claim.line(config)):
                say(new)
    say("The site is set up" if changed else "Nothing was missing")


def _mail_by_hand() -> bool:
    from microblog.host.extras import postfix

    return postfix.set_up_by_hand()


def _see(config: Config, say: Callable[[str], None]) -> None:
    """Look as a visitor does: what stands in front of the application may not lead to it."""
    if program := nginx.neighbour():
        say(nginx.stand_aside(program))
        return
    # nginx's old processes answer for a moment yet.
    if not services.wait_for(lambda: (sight := front.look(config)) is None or sight.good, _SEE_SECONDS):
        sight = front.look(config)
        say(f"But visitors do not see it: {sight.text() if sight else ''}; microblog doctor says more")


def daily(say: Callable[[str], None] = say) -> None:
    """What has its time: the end of a certificate of the machine's own, how long browsers may insist."""
    privileges.require_root("set the machine up", "sudo microblog setup")
    os.umask(0o022)
    if not nginx.installed() or found.in_the_way():
        return
    with lock.sole(say):
        config = Config.load(layout.env_file())
        if certificate.ensure(config.host_names, plain=not config.https):
            say(f"Made a certificate for this machine: {certificate.CERTIFICATE}")
        hsts.write()
        nginx.ensure(config)
        if services.state(nginx.UNIT) == "active" and nginx.stale():
            nginx.apply()


def leave(say: Callable[[str], None] = say) -> None:
    """Give back what setup took of the machine: nginx's place, supervisor's program.

    What 'https', 'mail' and 'harden' have changed serves on without the package, which may come back.
    """
    privileges.require_root("take the site away", "apt-get remove microblog")
    from microblog.host.extras import harden

    # Nobody could confirm it any more, and the timer would call what is gone.
    harden.expire(say)
    # nginx first: were the program not to end, other sites have their places back all the same.
    nginx.leave(say)
    supervisor.leave(say)
    changed = {entry["command"] for entry in ledger.entries()}
    if kept := [f"'microblog {name}'" for name in ("https", "mail", "harden") if name in changed]:
        say(f"What {' and '.join(kept)} changed stays until the package is purged, which takes it back")
