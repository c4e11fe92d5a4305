"""Whether the site has an owner, and by which code somebody becomes it: for who is root on the machine."""

from contextlib import suppress

from microblog import claiming, names
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.database import kinds
from microblog.host.machine import layout

# A database server that runs answers sooner.
_SECONDS = 5
# Noted until the next boot, so that not each greeting asks the database.
_DONE = layout.RUN / "claimed"


def code(config: Config) -> str:
    """The code, while the site is new; else an empty text.

    :raises HostError: that is not known: the database does not answer.
    """
    if not config.claim_code:
        return ""
    return claiming.shown(config.claim_code) if kinds.of(config.database_url).is_new(_SECONDS) else ""


def line(config: Config) -> str:
    """What its owner has to do, while the site is new, in a line; else an empty text. Likewise."""
    found = code(config)
    return f"This Microblog is new: open {url(config)} and enter the code {found}" if found else ""


def url(config: Config) -> str:
    """Where the site is: by its first name, else by an address, which works without any name server."""
    named = config.host_names[0] if config.host_names else ""
    addresses = [address for address in names.machine_addresses() if ":" not in address]
    return f"{'https' if config.https else 'http'}://{named or (addresses or [names.local_name()])[0]}"


def greeting() -> str:
    """The same for the greeting of SSH: nothing where it is not known, and soon where it is done with."""
    if _DONE.exists():
        return ""
    try:
        found = line(Config.load(layout.env_file()))
    except HostError:
        return ""
    if not found:
        with suppress(OSError):
            _DONE.touch()
    return found
