"""The recovery sheet: what to do when this machine is gone, on one page to print.

It holds the repository's key, and so all of the site: who has it needs nothing else but the way to the
place. So it is written for root's eyes alone, and never into a log.
"""

import html
import io
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from microblog import names
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.backups import elsewhere
from microblog.host.backups.places import Place, Ssh, Usb
from microblog.host.machine import apt, files, layout

_STYLE = """
body { font: 12pt/1.5 Georgia, serif; max-width: 40em; margin: 2em auto; color: #000; background: #fff }
h1 { font-size: 1.6em } code { font: 11pt monospace } li { margin: .4em 0 }
.key { border: 2px solid #000; padding: 1em; display: flex; gap: 2em; align-items: center }
.words { font: bold 15pt/1.9 monospace; columns: 3; list-style-position: inside; padding: 0; flex: 1 }
svg { width: 11em; height: 11em } @page { margin: 15mm }
"""


def write(path: Path, say: Callable[[str], None]) -> None:
    """Write the sheet, as HTML if the file is called so, else as text.

    :raises HostError: if backups go nowhere else, or it cannot be written.
    """
    now = elsewhere.chosen()
    if now is None:
        raise HostError("backups go nowhere else yet: there is no key", "microblog backup --to REPOSITORY")
    # For its QR code; without it, the words do.
    try:
        apt.ensure(say, "python3-segno")
    except HostError as error:
        say(f"The sheet has no QR code: {error.message}")
    place, words = now.place, now.access.key
    try:
        files.write(path.absolute(), page(place, words) if _is_page(path) else text(place, words), 0o600)
    except OSError as error:
        raise HostError(
            f"the sheet cannot be written: {path}: {error.strerror}", "name another file"
        ) from None
    elsewhere.seen()


def _is_page(path: Path) -> bool:
    return path.suffix.lower() in (".html", ".htm")


def steps(place: Place) -> list[str]:
    """What to do on a new machine, in order."""
    way: list[str] = []
    if isinstance(place, Usb):
        way = [f"Plug in the disk labelled {place.label}."]
    elif isinstance(place, Ssh):
        way = [
            f"The new machine has an SSH key of its own. The command below prints it, once: add that line to"
            f" ~{place.user}/.ssh/authorized_keys on {place.host}, and run the command again."
        ]
    elif place.secrets:
        way = [
            "Have an access key and its secret of the bucket ready; your provider's console makes new ones."
            " The command below asks for them."
        ]
    elif "rclone" in place.packages:
        way = ["Set the remote up under the same name, as root: apt-get install rclone, then rclone config."]
    return [
        "Make a new machine with Microblog: flash the card, start the image, or install the package.",
        *way,
        f"In its terminal, type: sudo microblog restore --from {_quoted(place.address)}",
        "When it asks for the key, type the nine words below. Capitals, spaces or hyphens do not matter.",
        "When it has ended, the site is back, under its old name. Point its name to the new machine.",
        f"To go on sending backups there: sudo microblog backup --to {_quoted(place.address)}",
    ]


def text(place: Place, words: str) -> str:
    """The sheet for a terminal."""
    lines = [f"RECOVERY SHEET of {_site()}", "", *_facts(place), ""]
    lines += [f"{number}. {step}" for number, step in enumerate(steps(place), 1)]
    split = words.split("-")
    lines += ["", "The key:", ""]
    lines += [
        "    " + "   ".join(f"{at + 1} {split[at]}" for at in range(start, min(start + 3, len(split))))
        for start in range(0, len(split), 3)
    ]
    if picture := code(words, "txt"):
        lines += ["", picture]
    lines += ["", "Whoever has this sheet and the way to the backups has all of the site: keep it where the"]
    lines += ["machine is not. Nobody else can open the backups without it; if it is lost, so are they."]
    return "\n".join(lines) + "\n"


def page(place: Place, words: str) -> str:
    """The sheet for a browser that prints it; it loads nothing from anywhere."""
    way = "".join(f"<li>{html.escape(step)}</li>" for step in steps(place))
    key = "".join(f"<li>{html.escape(word)}</li>" for word in words.split("-"))
    facts = "<br>".join(html.escape(fact) for fact in _facts(place))
    title = html.escape(f"Recovery sheet of {_site()}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>{facts}</p><h2>On a new machine</h2><ol>{way}</ol><h2>The key</h2>"
        f'<div class="key"><ol class="words">{key}</ol>{code(words, "svg")}</div>'
        "<p>Whoever has this sheet and the way to the backups has all of the site: keep it where the machine"
        " is not. Nobody else can open the backups without it; if it is lost, so are they.</p></html>\n"
    )


def _facts(place: Place) -> list[str]:
    return [
        f"Backups go to: {place.address}",
        f"Made on {datetime.now(timezone.utc):%Y-%m-%d}. The backups are restic's (restic.net): its"
        " password is the nine words with hyphens between.",
    ]


def _site() -> str:
    try:
        config = Config.load(layout.env_file())
    except HostError:
        return "Microblog"
    return f"{config.site_name} at {(config.host_names or tuple(names.machine_names()[:1]))[0]}"


def _quoted(address: str) -> str:
    return f"'{address}'" if " " in address else address


def code(words: str, kind: str) -> str:
    """A QR code of the key; empty without segno."""
    try:
        import segno
    except ImportError:
        return ""
    made = segno.make(words, error="m", micro=False)
    if kind == "svg":
        return str(made.svg_inline(border=2))
    drawn = io.StringIO()
    made.terminal(drawn, border=2, compact=True)
    return drawn.getvalue()
