"""Units of systemd's that have failed: told to ADMINS once, until they have succeeded again."""

from collections.abc import Callable
from pathlib import Path

from microblog.host.machine import files, layout, services
from microblog.host.site import telling
from microblog.host.updates import journal

# Setup, backup, update, and the renewal of a certificate.
UNITS = ("microblog-setup", layout.LATER, "microblog-backup", "microblog-update", "certbot")
# Emptied by the units themselves, when they succeed.
_TOLD = journal.FOLDER / "told"
# Where certbot keeps, and renews, the site's certificate ('microblog https').
_LINEAGE = Path("/etc/letsencrypt/live/microblog")
_LINES = 15


def failed() -> list[str]:
    """Those that have failed when they ran last."""
    if not services.booted():
        return []
    return [unit for unit in UNITS if _ours(unit) and services.state(f"{unit}.service") == "failed"]


def _ours(unit: str) -> bool:
    """Others may have certificates here, too."""
    return unit != "certbot" or _LINEAGE.is_dir()


def tell(unit: str, say: Callable[[str], None]) -> bool:
    """What ``OnFailure=`` calls: a mail to each of ADMINS, with the unit's last words.

    :return: whether one was sent.
    """
    note = _TOLD / unit
    if unit not in UNITS or not _ours(unit) or note.exists():
        return False
    said = services.run(
        "journalctl", "--unit", unit, "--lines", str(_LINES), "--output=cat", "--no-pager"
    ).stdout
    text = (
        f"{unit} has failed. Its last words:\n\n{said.strip()}\n\n"
        f"It is not told again until it has succeeded. microblog doctor says what to do."
    )
    if not telling.tell(f"{unit} has failed", text, say):
        return False
    _TOLD.mkdir(mode=0o755, parents=True, exist_ok=True)
    files.write(note, journal.now(), 0o644)
    return True
