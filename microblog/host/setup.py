"""``microblog setup``: make a machine whole.

Creates what is missing, changes nothing that is there, can be interrupted
anywhere and run again. Run by the package's postinst, and at every boot.
"""

import fcntl
import os

from microblog.config import Config
from microblog.errors import HostError
from microblog.host import certificate, database, envfile, layout, nginx, schema, services, supervisor

_LOCK = layout.RUN / "setup.lock"


def say(text: str) -> None:
    """One line about what was done or is being waited for."""
    print(text, flush=True)


def setup(boot: bool = False) -> None:
    """Make what is missing and, outside of the boot, see the site answer.

    :param boot: systemd starts supervisor and nginx after this: waiting for them here
        would wait for ever.
    :raises HostError: with what has to be mended.
    """
    if os.geteuid() != 0:
        raise HostError("only root can set the machine up", "sudo microblog setup")
    os.umask(0o022)
    layout.RUN.mkdir(mode=0o755, exist_ok=True)
    with _LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another 'microblog setup' to end ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            _setup(boot)
        except OSError as error:
            raise HostError(
                f"{error.filename or 'this machine'}: {error.strerror}", "mend that; then: microblog setup"
            ) from error


def _setup(boot: bool) -> None:
    changed = False
    layout.make_directories()
    path = layout.env_file()
    web = nginx.installed()
    if added := envfile.complete(path, database.default_url(), proxied=web):
        changed = True
        say(f"Wrote {', '.join(added)} to {path}")
    config = Config.load(path)

    # What nginx needs comes before the database, so that, whatever becomes of
    # that, visitors find a page of ours.
    reload = False
    if web:
        if certificate.ensure():
            changed = reload = True
            say(f"Made a certificate for this machine: {certificate.CERTIFICATE}")
        for line in nginx.ensure():
            changed = reload = True
            say(line[0].upper() + line[1:])
    if supervisor.ensure():
        changed = True
        say("Made the application known to supervisor")

    changed |= schema.ensure(config.database_url, say)

    if not boot:
        supervisor.apply()
        supervisor.wait_for_answer(say)
        if reload or (web and services.state(nginx.UNIT) != "active"):
            nginx.apply()
    say("The site is set up" if changed else "Nothing was missing")
