"""The machine's name, where others have written it down.

postfix keeps the name that the machine had when it was installed: an image's, for all
machines made of it. When the name changes, what was made from the old one follows; what
somebody has chosen stays.
"""

from collections.abc import Callable
from pathlib import Path

from microblog import names
from microblog.host.machine import files, layout, services

# The name when setup last looked; in an image, the one it was baked under.
_LAST = layout.ETC / "name"
_MAILNAME = Path("/etc/mailname")
_POSTCONF = Path("/usr/sbin/postconf")


def follow(say: Callable[[str], None], by_hand: Callable[[], bool]) -> bool:
    """Have postfix use the machine's present name, where it used the last one.

    :param by_hand: whether somebody has set postfix up: then mail comes to the names that it has.
    :return: whether anything was changed.
    """
    now = (names.machine_names() or ["localhost"])[0]
    try:
        last = _LAST.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        last = ""
    if last == now:
        return False
    files.write(_LAST, f"{now}\n", 0o644)
    if not last or not _POSTCONF.exists():
        return False
    if by_hand():
        say(f"Mail goes by the names that it had, not by {now}: somebody has set postfix up")
        return False
    changed = False
    for setting in ("myhostname", "mydestination"):
        old = services.answer("postconf", "-h", setting).strip()
        new = rename(old, last, now)
        if new != old:
            changed = services.run("postconf", "-e", f"{setting}={new}").returncode == 0 or changed
    if _MAILNAME.exists():
        old = _MAILNAME.read_text(encoding="utf-8", errors="replace").strip()
        if (new := rename(old, last, now)) != old:
            files.write(_MAILNAME, f"{new}\n", 0o644)
            changed = True
    if changed:
        say(f"Mail goes by this machine's new name: {now}")
        if services.state("postfix.service") == "active":
            services.control("reload", "postfix.service")
    return changed


def rename(value: str, last: str, now: str) -> str:
    """A list of names with one of them renamed, in its short form or with a domain that it had.

    :param value: names, separated by commas and spaces.
    :return: as it was written, where it is not among them.
    """
    short = last.partition(".")[0]
    ours = {last, short, f"{last}.localdomain", f"{short}.localdomain"} - {"localhost"}
    found = value.replace(",", " ").split()
    if not ours & {*found}:
        return value
    return ", ".join(dict.fromkeys(now if name in ours else name for name in found))
