"""Make docs/*.png anew: ``python -m`` nothing, just run it in build.py's test environment.

PYTHONPATH=. VENV/bin/python tests/browser/screenshots.py [NAME]...
"""

import json
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

import fonts
from live_site import Site, login
from playwright.sync_api import sync_playwright

from builder.deb import assets, translations
from microblog.database import db
from microblog.models import User
from microblog.models.site import Looks, set_looks

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CHROMIUM = "/usr/bin/chromium"
DESKTOP = {"width": 1100, "height": 860}
PHONE = {"width": 390, "height": 800}
# Beside text, half as large.
SMALL = {"width": 820, "height": 620}
CODE = "BCDFGHJK"

RECIPE = "https://example.org/recetas/pan-de-masa-madre-de-veinte-horas"
PEOPLE = {
    "ada": "Engines, numbers, and the odd poem.\nhttps://example.org/notes",
    "grace": "Compilers. If it’s a good idea, go ahead and do it.",
    "lovelace_club": "Reading group, Thursdays at seven.",
    "miguel": "Escribo sobre bicicletas y pan.",
    "vera": "Смотрю на звёзды. Галактики вращаются.",
}
# Author, text, language, age in minutes.
POSTS = [
    ("vera", "Сегодня ночью видно Персеиды. Смотрите на северо-восток!", "ru", 60 * 24 * 40),
    ("lovelace_club", "Next Thursday: notes on the Engine, led by @ada. Bring questions.", "en", 4320),
    ("grace", "Found the bug. It was an actual moth. 🦋", "en", 60 * 26),
    ("miguel", f"El pan de hoy: masa madre, 20 horas. {RECIPE}", "es", 60 * 9),
    ("ada", "It can do whatever we know how to order it to perform. Not a thing more.", "en", 60 * 5),
    ("grace", "A ship in port is safe, but that is not what ships are for.", "en", 47),
    ("ada", "Runs on the little computer behind my shelf now: https://example.org/microblog", "en", 12),
    ("vera", "Облака разошлись, ставлю телескоп.", "ru", 3),
]

# Name: path, language, colour scheme, size.
SHOTS = {
    "home-light": ("/", "en", "light", DESKTOP),
    "home-dark": ("/", "en", "dark", DESKTOP),
    "home-phone": ("/", "en", "dark", PHONE),
    "profile-es": ("/user/miguel", "es", "light", DESKTOP),
    "explore-ru": ("/explore", "ru", "light", PHONE),
}
# What docs/owner.md shows: name, and how the owner comes there; what is last is the picture, if it is a part.
OWNERS = {
    "owner-new": lambda page: page.goto("/"),
    "owner-machine": lambda page: page.goto("/machine"),
    "owner-backups": lambda page: page.goto("/machine/backups"),
    "owner-elsewhere": lambda page: (
        page.goto("/machine/backups/elsewhere"),
        page.click("main summary >> nth=0"),
        page.fill("#sftp-host", "nas.home"),
        page.fill("#sftp-user", "ada"),
        page.fill("#sftp-folder", "/srv/backups"),
        page.locator("main details").first,
    ),
    "owner-dns": lambda page: (
        page.goto("/machine/name/dns/cloudflare"),
        page.fill("#api_token", "one that nobody sees"),
        page.fill("#domains", "blog.example.org"),
        page.locator("main form"),
    ),
    "owner-sheet": lambda page: (
        page.goto("/machine/backups/elsewhere"),
        page.click("form[action$=sheet] button"),
        page.locator("main section"),
    ),
}
# What the machine's agent has seen, and where it sends backups.
SEEN = {
    "facts": {
        "visitors": "see it at https://blog.example.org/",
        "application": "running",
        "database": "SQLite",
        "certificate": "until 2027-02-11, 77 days",
        "backup": "51 hours ago, microblog-20260101T031500Z-daily.tar.gz",
        "drill": "3 days ago, 1204 rows",
    },
    "finding": {
        **{"id": "backup.old", "severity": "warning", "what": "The last backup is old."},
        **{"why": "51 hours ago, microblog-20260101T031500Z-daily.tar.gz", "remedy": "microblog backup"},
    },
}
WORDS = "lusab-babad-gutih-tugad-mudof-sakat-mibit-nobid-hajod"
PLACE = {"address": "sftp://ada@nas.home:22//srv/backups", "secrets": {}, "shown": False, "by_root": False}


def fill(site):
    """Some people who write to each other."""
    for name, about in PEOPLE.items():
        site.user(name, about)
    for author, body, language, minutes_ago in POSTS:
        site.post(author, body, None, language, minutes_ago)
    site.follow("ada", "grace", "lovelace_club", "miguel", "vera")
    site.follow("grace", "ada", "vera")
    site.follow("vera", "ada", "grace", "miguel")
    site.follow("miguel", "grace")


def look_after(site, name):
    """Have the site's machine be one of a year or so; ada administers it. :param name: the picture's."""
    with site.app.app_context():
        User.find("ada").is_admin = True
        set_looks(Looks("Our Garden"))
        db.session.commit()
    facts = {name: {"ok": name != "backup", "text": text} for name, text in SEEN["facts"].items()}
    seen = {
        "at": time.time(),
        "facts": facts,
        "findings": [SEEN["finding"]] if name == "owner-machine" else [],
    }
    (site.agent / "seen.json").write_text(json.dumps(seen))
    folder = site.agent / "elsewhere"
    folder.mkdir(exist_ok=True)
    (folder / "where.json").write_text(json.dumps(PLACE))
    (folder / "key").write_text(WORDS)
    for key in ("ssh_key", "ssh_key.pub"):
        (folder / key).write_text(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'B' * 43} microblog@garden\n")
    journal = {"sent": {"when": time.time() - 3600}, "drilled": {"when": time.time() - 3 * 86400}}
    (site.agent / ".journal.json").write_text(json.dumps(journal))


def take(browser, site, target, come, user=None, language="en", scheme="light", size=DESKTOP):
    """One picture. :param come: takes a page to where it is made."""
    page = browser.new_page(
        base_url=f"http://{site.environment['HOST_NAMES']}",
        locale=language,
        timezone_id="UTC",
        color_scheme=scheme,
        viewport=size,
    )
    if user:
        login(page, user)
    shown = come(page)
    part = shown[-1] if isinstance(shown, tuple) else page
    # The whole of a part, though it is longer than the window.
    page.set_viewport_size({**size, "height": 2000} if part is not page else size)
    part.screenshot(path=target)
    page.close()


def main(names, docs=DOCS):
    """:param names: those to make; all, if there are none."""
    assets.install(ROOT / "microblog" / "static")
    translations.compile_all(ROOT / "microblog" / "translations")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "new").mkdir()
        site = stack.enter_context(closing(Site(folder, HOST_NAMES="blog.example.org")))
        new = stack.enter_context(
            closing(Site(folder / "new", HOST_NAMES="new.example.org", CLAIM_CODE=CODE))
        )
        fill(site)
        # The pictures have names, and not whichever port was free.
        led = [
            f"MAP {one.environment['HOST_NAMES']} {one.url.removeprefix('http://')}" for one in (site, new)
        ]
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=CHROMIUM,
            env=fonts.environment("wide", folder),
            args=[f"--host-resolver-rules={', '.join(led)}"],
        )
        for name, (path, language, scheme, size) in SHOTS.items():
            if name in (names or SHOTS):
                come = lambda page: page.goto(path)  # noqa: E731, B023
                take(browser, site, docs / f"{name}.png", come, "ada", language, scheme, size)
        for name, come in OWNERS.items():
            if name in (names or OWNERS):
                look_after(site, name)
                where, user = (new, None) if name == "owner-new" else (site, "ada")
                take(browser, where, docs / f"{name}.png", come, user, size=SMALL)


if __name__ == "__main__":
    main(sys.argv[1:])
