"""Every page against axe-core: light and dark, on a phone and on a desktop."""

import re

import pytest

SIZES = {"phone": {"width": 360, "height": 740}, "desktop": {"width": 1280, "height": 900}}

FOR_VISITORS = ["/", "/login", "/register", "/reset", "/nowhere", "/reset/x"]
FOR_MEMBERS = [
    *(
        "/",
        "/explore",
        "/search",
        "/search?q=hello",
        "/search?q=nothing-like-it",
        "/user/susan",
        "/user/david",
    ),
    *("/user/susan/followers", "/user/susan/following", "/user/david/followers", "/nowhere"),
    *("/settings", "/settings/email", "/settings/password", "/settings/delete", "/admin", "/admin?q=nobody"),
]


@pytest.fixture
def members(site):
    site.user("susan", "About me: https://example.org and @david", is_admin=True)
    site.user("david")
    site.user("banned", suspended_at=site.now())
    site.follow("susan", "david")
    site.follow("david", "susan")
    for number in range(25):
        site.post("david", f"hello {number} @susan https://example.org/{'x' * 80}", minutes_ago=25 - number)
    site.post("susan", "hola", language="es")


def check(page, axe, name):
    # Colours do not depend on the size, nor sizes on the colours.
    for scheme, size in (("light", "desktop"), ("dark", "phone")):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(SIZES[size])
        assert axe.violations(page) == [], f"{name}, {scheme}, {size}"
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= SIZES[size]["width"], f"{name} is wider than a {size}"


def test_the_checker_sees(visit, axe):
    page = visit()
    page.goto("/login")
    page.evaluate("document.querySelector('label').remove()")
    assert [line for line in axe.violations(page) if line.startswith("label:")]


@pytest.mark.parametrize("path", FOR_VISITORS)
def test_visitors_pages(visit, axe, path):
    page = visit()
    page.goto(path)
    check(page, axe, path)


def test_members_pages(visit, axe, members):
    page = visit("susan")
    for path in FOR_MEMBERS:
        page.goto(path)
        assert page.locator("main").count() == 1
        check(page, axe, path)


def test_with_an_error_and_an_open_menu(visit, axe, members):
    page = visit("susan")
    page.goto("/")
    page.fill("#body", "x" * 141)
    page.click("text=Post")
    page.wait_for_selector("#body-error")
    page.click("details.top-user summary")
    check(page, axe, "a post that is too long")
    page.goto("/register")
    page = visit()
    page.goto("/register")
    page.click("main [type=submit]")
    page.wait_for_selector("#username-error")
    check(page, axe, "an empty registration")


@pytest.mark.parametrize("language", ["es", "ru"])
def test_long_words_fit_on_a_phone(visit, members, language):
    """Other languages need more room."""
    page = visit("susan", locale=language, viewport=SIZES["phone"])
    for path in FOR_MEMBERS:
        page.goto(path)
        assert page.evaluate("document.documentElement.lang") == language
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["phone"]["width"], path


def test_zoomed_in_text_fits(visit, members):
    """WCAG 2.2, 1.4.10: 320 CSS pixels, which is 1280 at 400 %."""
    page = visit("susan", viewport={"width": 320, "height": 256})
    for path in FOR_MEMBERS:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path


def test_every_control_shows_its_focus(visit, members):
    page = visit("susan")
    page.goto("/explore")
    seen = 0
    for _ in range(12):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            """() => {
                const style = getComputedStyle(document.activeElement);
                return [document.activeElement.outerHTML.slice(0, 60), style.outlineWidth, style.boxShadow];
            }"""
        )
        assert focused[1] != "0px" or focused[2] != "none", focused[0]
        seen += not re.match("<body", focused[0])
    assert seen == 12
