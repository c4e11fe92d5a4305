"""What a button can do about a finding of the doctor's."""

from dataclasses import dataclass

from microblog.i18n import _l


@dataclass(frozen=True)
class Remedy:
    """:ivar label: what the button, or the link, says.
    :ivar verb: of the agent, which the button asks for; or
    :ivar page: where it is mended.
    """

    label: _l
    verb: str = ""
    page: str = ""


_SET_UP = Remedy(_l("Set up what is missing"), "setup")
_RESTART = Remedy(_l("Restart the site"), "restart")
_BACK_UP = Remedy(_l("Back up now"), "backup")
_BACKUPS = Remedy(_l("See the backups"), page="machine.backups")
_NAME = Remedy(_l("Name and HTTPS"), page="machine.name")
_MAIL = Remedy(_l("Set mail up"), page="machine.mail")

# By a finding's whole name, or by what stands before its dot.
REMEDIES = {
    "application": _RESTART,
    "backup.drill": Remedy(_l("Try the last backup"), "drill"),
    "backup.elsewhere": _BACK_UP,
    "backup.old": _BACK_UP,
    "backup.damaged": _BACK_UP,
    "backup.place": _BACKUPS,
    "backup.sheet": Remedy(_l("Where backups go"), page="machine.elsewhere"),
    "backup.unfinished": _SET_UP,
    "certificate.names": _NAME,
    "certificate.end": _NAME,
    "certificate.pair": _SET_UP,
    "database.schema": _SET_UP,
    "mail": _MAIL,
    "names": _NAME,
    "nginx.listens": _SET_UP,
    "nginx.unlinked": _SET_UP,
    "setup": _SET_UP,
    "unit.down": _SET_UP,
    "visitors.nobody": _RESTART,
    "visitors.page": _SET_UP,
}


def remedy(name: str) -> Remedy | None:
    """For a finding by its name, such as ``backup.old``."""
    return REMEDIES.get(name) or REMEDIES.get(name.partition(".")[0])
