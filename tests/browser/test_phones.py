"""Nothing is cut off on a phone: every page, in every language, with a wide and with a narrow font."""

import fonts
import pytest
from live_site import login
from pages import FOR_MEMBERS, FOR_VISITORS, LONG_NAME, OF_THE_LONG_NAME

# CSS pixels: a common phone; and WCAG 2.2, 1.4.10: a desktop of 1280 at 400 %.
WIDTHS = (360, 320)
HEIGHT = 740
# WCAG 2.2, 1.4.12: what a reader may ask of the letters.
SPACED = (
    "* { letter-spacing: 0.12em !important; word-spacing: 0.16em !important; line-height: 1.5 !important }"
)

languages = pytest.mark.parametrize("language", ["en", "es", "ru"])
every_font = pytest.mark.parametrize("letters", fonts.SETS)

_OUTSIDE = """() => [...document.querySelectorAll("body *")].filter(element => {
    const box = element.getBoundingClientRect();
    // What is out of sight on purpose, for readers of screens, is one pixel large.
    if (box.width <= 1 || box.height <= 1) return false;
    const cut = element.matches(".btn, button, summary") && element.scrollWidth > element.clientWidth + 1;
    return cut || box.left < -1 || box.right > innerWidth + 1;
}).map(element => element.outerHTML.slice(0, 120))"""


def outside(page):
    """What does not fit: a line for each width and element, none if all does."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        # By then scripts have been told.
        page.evaluate("new Promise(requestAnimationFrame)")
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            found.append(f"{page.url} is {wide} pixels wide on a screen of {width}")
        found += [f"{page.url}, {width}: {element}" for element in page.evaluate(_OUTSIDE)]
    return found


def space_letters(page):
    # The page's own policy lets no style in; this goes past it.
    page.evaluate(
        """style => {
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(style);
            document.adoptedStyleSheets = [sheet];
        }""",
        SPACED,
    )


def visit_all(page, paths):
    found = []
    for path in paths:
        page.goto(path)
        found += outside(page)
        space_letters(page)
        found += [f"spaced: {line}" for line in outside(page)]
    assert found == [], "\n".join(found)


def used_fonts(page, selector):
    """The families that an element's letters come from."""
    session = page.context.new_cdp_session(page)
    session.send("DOM.enable")
    session.send("CSS.enable")
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    node = session.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
    return {
        font["familyName"] for font in session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    }


@every_font
@languages
def test_the_fonts_are_the_declared_ones(visit, letters, language):
    page = visit(locale=language, letters=letters)
    page.goto("/")
    assert used_fonts(page, "h1") == {fonts.SETS[letters].serif}
    assert used_fonts(page, ".lead") == {fonts.SETS[letters].sans}


@every_font
@languages
def test_visitors_pages_fit(visit, letters, language):
    page = visit(locale=language, letters=letters)
    visit_all(page, FOR_VISITORS)
    assert page.evaluate("document.documentElement.lang") == language


@every_font
@languages
def test_public_pages_fit(visit, site, members, letters, language):
    site.open_to_all()
    page = visit(locale=language, letters=letters)
    # Members see all of them, in the same words: here, the bar and the buttons are others.
    visit_all(page, [path.format(**members) for path in (*OF_THE_LONG_NAME, "/post/{first}", "/explore")])
    assert not page.url.startswith(f"{site.url}/login")


@every_font
@languages
def test_members_pages_fit(visit, members, letters, language):
    page = visit(LONG_NAME, locale=language, letters=letters)
    visit_all(page, [path.format(**members) for path in (*FOR_MEMBERS, *OF_THE_LONG_NAME)])
    assert page.evaluate("document.documentElement.lang") == language


@every_font
@languages
def test_errors_notices_and_menus_fit(visit, site, members, letters, language):
    page = visit(locale=language, letters=letters)
    for path in ("/register", "/reset", "/login"):
        page.goto(path)
        page.click("main [type=submit]")
        page.wait_for_selector(".invalid-feedback")
        assert outside(page) == []
    login(page, LONG_NAME)
    page.fill("#body", "x" * 141)
    page.click(".composer [type=submit]")
    page.wait_for_selector("#body-error")
    assert outside(page) == []
    for menu in ("details.top-user summary", ".post .menu summary >> nth=0"):
        page.click(menu)
        assert outside(page) == [], menu
        page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1000, "height": HEIGHT})
    page.hover(".post .post-author >> nth=0")
    page.wait_for_selector(".person-card")
    assert outside(page) == []
    page.goto("/settings")
    page.click("main [type=submit]")
    page.wait_for_selector(".notice")
    assert outside(page) == []
    page.goto("/settings/delete")
    page.click("main [type=submit]")
    page.wait_for_selector(".invalid-feedback, .alert")
    assert outside(page) == []


@every_font
def test_a_site_may_have_a_long_name(visit, letters):
    page = visit(letters=letters)
    page.goto("/")
    page.evaluate("document.querySelector('.brand span').textContent = 'W'.repeat(40)")
    assert outside(page) == []
