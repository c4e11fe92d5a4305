"""Make microblog/static/icons/*.png anew, of favicon.svg: telephones' home screens take no SVG.

PYTHONPATH=. VENV/bin/python tests/browser/icons.py
"""

from pathlib import Path

from playwright.sync_api import sync_playwright

STATIC = Path(__file__).resolve().parents[2] / "microblog" / "static"
CHROMIUM = "/usr/bin/chromium"
# Of each: how large it is, and how much of that the picture takes. Telephones cut icons into shapes of their
# own: what lies within four fifths of the width is safe (https://www.w3.org/TR/appmanifest/#icon-masks).
ICONS = {
    "icon-192": (192, 0.92),
    "icon-512": (512, 0.92),
    "maskable-512": (512, 0.6),
    "apple-180": (180, 0.7),
}
PAPER = "#f7f4ee"


def main() -> None:
    picture = (STATIC / "favicon.svg").read_text()
    (STATIC / "icons").mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        for name, (size, share) in ICONS.items():
            page = browser.new_page(viewport={"width": size, "height": size})
            plain = name.startswith("icon-")
            page.set_content(
                f"<style>body{{margin:0;height:100vh;display:grid;place-items:center;"
                f"background:{'transparent' if plain else PAPER}}}svg{{width:{share:.0%}}}</style>{picture}"
            )
            page.screenshot(path=STATIC / "icons" / f"{name}.png", omit_background=plain)
        browser.close()


if __name__ == "__main__":
    main()
