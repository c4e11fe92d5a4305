"""The maintenance page: while its flag is there, nginx shows it in place of the site."""

import time
from collections.abc import Callable

from microblog.host.machine import files, layout

# In /run: a machine that was switched off starts without; whatever still holds sets it again.
FLAG = layout.RUN / "maintenance"


def on() -> None:
    """Show the page. The flag's time is when the site went down."""
    layout.RUN.mkdir(mode=0o755, exist_ok=True)
    if not FLAG.exists():
        files.write(FLAG, "", 0o644)


def off(say: Callable[[str], None]) -> None:
    """Show the site again, and say for how long it was not."""
    try:
        seconds = time.time() - FLAG.stat().st_mtime
    except FileNotFoundError:
        return
    FLAG.unlink()
    say(f"The site is back; it was away for {max(0.0, seconds):.0f} s")
