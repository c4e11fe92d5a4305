"""Units of systemd's that have failed: told to ADMINS once, until they have succeeded again.

The notes of what was told are taken away by the units themselves, when they succeed, and by :func:`mended`.
"""

from collections.abc import Callable
from pathlib import Path

from microblog.host.machine import files, layout, services
from microblog.host.site import telling
from microblog.host.updates import journal

# Setup, backup, update, and the renewal of a certificate.
UNITS = ("microblog-setup", layout.LATER, "microblog-backup", "microblog-update", "certbot")
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
    note = journal.TOLD / unit
    if unit not in UNITS or not _ours(unit) or note.exists():
        return False
    if unit == "microblog-backup":
        # Setup comes here, too, and needs none of it.
        from microblog.host.backups import nightly

        # What failed that night was told step by step; of one that was killed, say, nothing was.
        if nightly.was_told():
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
    journal.TOLD.mkdir(mode=0o755, parents=True, exist_ok=True)
    files.write(note, journal.now(), 0o644)
    return True


def mended(*units: str) -> None:
    """What a unit has failed at was done by hand since: it has not failed any more."""
    for unit in units:
        (journal.TOLD / unit).unlink(missing_ok=True)
    if bad := [unit for unit in failed() if unit in units]:
        services.run("systemctl", "reset-failed", *(f"{unit}.service" for unit in bad))
