"""``microblog setup``: make a machine whole.

Creates what is missing, changes nothing that is there, can be interrupted
anywhere and run again. Run by the package's postinst, and at every boot.
"""

import os
from collections.abc import Callable

from microblog.config import Config
from microblog.errors import HostError
from microblog.host.backups import upgrade
from microblog.host.database import memory, server
from microblog.host.machine import layout, lock, services
from microblog.host.site import certificate, envfile, identity, maintenance, nginx, supervisor


def say(text: str) -> None:
    """One line about what was done or is being waited for."""
    print(text, flush=True)


def setup(boot: bool = False, say: Callable[[str], None] = say) -> None:
    """Make what is missing and, outside of the boot, see the site answer.

    :param boot: systemd starts supervisor and nginx after this: waiting for them here
        would wait for ever.
    :param say: is told what was done and what is being waited for.
    :raises HostError: with what has to be mended.
    """
    if os.geteuid() != 0:
        raise HostError("only root can set the machine up", "sudo microblog setup")
    os.umask(0o022)
    with lock.sole(say):
        _setup(boot, say)


def _setup(boot: bool, say: Callable[[str], None]) -> None:
    changed = False
    layout.make_directories()
    if boot:
        # Of backups that a power cut has ended: none is being written yet.
        for partial in layout.BACKUPS.glob(".microblog-*.partial"):
            partial.unlink()
    path = layout.env_file()
    web = nginx.installed()
    if added := envfile.complete(path, server.default_url(), proxied=web):
        changed = True
        say(f"Wrote {', '.join(added)} to {path}")
    # One that a power cut has ended goes on, before anybody writes to what it replaces.
    if layout.RESTORING.is_dir():
        from microblog.host.backups import restore

        changed |= restore.finish(say)
    config = Config.load(path)

    # What nginx needs comes before the database, so that, whatever becomes of
    # that, visitors find a page of ours.
    if web:
        if certificate.ensure():
            changed = True
            say(f"Made a certificate for this machine: {certificate.CERTIFICATE}")
        for line in nginx.ensure():
            changed = True
            say(line[0].upper() + line[1:])
        # One that does not run, and perhaps cannot, is started when all else is done.
        if not boot and services.state(nginx.UNIT) == "active" and nginx.stale():
            nginx.apply()
    changed |= identity.follow(say)
    if supervisor.ensure():
        changed = True
        say("Made the application known to supervisor")

    changed |= memory.ensure(config.database_url, say)
    changed |= upgrade.migrate(config, say)

    if not boot:
        try:
            supervisor.apply()
            supervisor.wait_for_answer(say)
        except HostError as error:
            raise upgrade.failed(config, error, say) from None
        if web and nginx.stale():
            nginx.apply()
    upgrade.confirm()
    maintenance.off(say)
    say("The site is set up" if changed else "Nothing was missing")
