"""``microblog doctor``: what is wrong with this machine, why, and what helps.

Checks, each for one kind of trouble; adding one adds a function and its name to a list.
"""

from collections.abc import Callable, Iterator

from microblog.config import Config
from microblog.errors import HostError
from microblog.host.health.checks import machine, mail, restore, site, visitors
from microblog.host.health.finding import Check, Finding, Plain
from microblog.host.machine import layout, privileges

_MODULES = (machine, site, visitors, restore, mail)
PLAIN: tuple[Plain, ...] = tuple(check for module in _MODULES for check in module.PLAIN)
CHECKS: tuple[Check, ...] = tuple(check for module in _MODULES for check in module.CHECKS)


def doctor() -> list[Finding]:
    """Look at everything; without usable settings, at what needs none.

    :raises HostError: if not run by root, who alone sees it all.
    """
    privileges.require_root("see what is wrong with a machine", "sudo microblog doctor")
    found = [finding for check in PLAIN for finding in _safely(check)]
    try:
        config = Config.load(layout.env_file())
    except HostError as error:
        unusable = "The settings cannot be used."
        return [Finding("settings.unusable", "error", unusable, error.message, error.hint), *found]
    return [*found, *(finding for check in CHECKS for finding in _safely(check, config))]


def _safely(check: Callable[..., Iterator[Finding]], *config: Config) -> Iterator[Finding]:
    """A check that fails to look says so, and hides no other."""
    try:
        yield from check(*config)
    except Exception as error:
        name = check.__name__.strip("_")
        text = (str(error).splitlines() or [""])[0][:200]
        yield Finding(
            f"{name}.unseen",
            "warning",
            f"The doctor could not look at: {name}.",
            f"{type(error).__name__}: {text}",
            "mend that; then: microblog doctor",
        )
