"""What this machine updates by itself, by night: unattended-upgrades, and what it takes."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from microblog.host.machine import apt, ledger, lock, privileges, services

_COMMAND = "update"
_PACKAGE = "unattended-upgrades"
# After the distribution's own and that of 'microblog harden'.
_SETTINGS = Path("/etc/apt/apt.conf.d/61microblog-automatic")
# As builder/deb/repository.py has it.
_ORIGIN = "origin=Microblog"
_HEAD = "// Written by 'microblog update --automatic'.\n"
_DAILY = 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
_NEVER = 'APT::Periodic::Unattended-Upgrade "0";\n'
_SITE = f'Unattended-Upgrade::Origins-Pattern {{ "{_ORIGIN}"; }};\n'
_NOTHING_ELSE = "#clear Unattended-Upgrade::Origins-Pattern;\n#clear Unattended-Upgrade::Allowed-Origins;\n"


@dataclass(frozen=True)
class Automatic:
    """:ivar security: what the distribution offers as such.
    :ivar site: new versions of the site, from the repository that its packages come from.
    """

    security: bool
    site: bool

    def text(self) -> str:
        names = [name for name, on in (("security", self.security), ("site", self.site)) if on]
        return " and ".join(names) or "nothing"


def state() -> Automatic:
    """What is so; changes nothing."""
    said = services.run("apt-config", "dump").stdout
    # A number of days, or "always".
    on = re.search(r'(?m)^APT::Periodic::Unattended-Upgrade "(?!0?")', said)
    runs = apt.installed(_PACKAGE) and bool(on)
    origins = re.findall(r'(?m)^Unattended-Upgrade::(?:Origins-Pattern|Allowed-Origins):: "(.*)";$', said)
    return Automatic(
        runs and any(origin != _ORIGIN for origin in origins),
        runs and _ORIGIN in origins,
    )


def switch(wanted: Automatic, say: Callable[[str], None]) -> None:
    """Have it be so; purging the package takes it back.

    :raises HostError: unattended-upgrades is missing, and cannot be installed.
    """
    privileges.require_root("decide on updates", "sudo microblog update --automatic ...")
    if wanted.security or wanted.site:
        apt.ensure(say, _PACKAGE)
    text = _HEAD + (_DAILY if wanted.security or wanted.site else _NEVER)
    if wanted.site:
        text += ("" if wanted.security else _NOTHING_ELSE) + _SITE
    with lock.sole(say):
        ledger.write(_COMMAND, _SETTINGS, text, 0o644)
    say(f"Updated by night, by itself: {wanted.text()}")
