"""Make docs/*.png anew: ``python -m`` nothing, just run it in build.py's test environment.

PYTHONPATH=. VENV/bin/python tests/browser/screenshots.py [NAME]...
"""

import sys
import tempfile
from pathlib import Path

import fonts
from live_site import PASSWORD, Site
from playwright.sync_api import sync_playwright

from builder.deb import assets, translations

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CHROMIUM = "/usr/bin/chromium"
DESKTOP = {"width": 1100, "height": 860}
PHONE = {"width": 390, "height": 800}

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


def fill(site):
    """Some people who write to each other."""
    for name, about in PEOPLE.items():
        site.user(name, about)
    for author, body, language, minutes_ago in POSTS:
        site.post(author, body, language, minutes_ago)
    site.follow("ada", "grace", "lovelace_club", "miguel", "vera")
    site.follow("grace", "ada", "vera")
    site.follow("vera", "ada", "grace", "miguel")
    site.follow("miguel", "grace")


def main(names):
    assets.install(ROOT / "microblog" / "static")
    translations.compile_all(ROOT / "microblog" / "translations")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = Site(Path(folder))
        try:
            fill(site)
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, env=fonts.environment("wide", Path(folder))
            )
            for name in names or SHOTS:
                path, language, scheme, size = SHOTS[name]
                page = browser.new_page(
                    locale=language, timezone_id="UTC", color_scheme=scheme, viewport=size
                )
                page.goto(f"{site.url}/login")
                page.fill("#username", "ada")
                page.fill("#password", PASSWORD)
                page.click("main [type=submit]")
                page.goto(site.url + path)
                page.screenshot(path=DOCS / f"{name}.png")
                page.close()
        finally:
            site.close()


if __name__ == "__main__":
    main(sys.argv[1:])
