"""Every page against axe-core: light and dark, on a phone and on a desktop."""

import re
from urllib.parse import urlsplit

import pytest
from pages import FOR_MEMBERS, FOR_VISITORS, NO_PAGES, OF_OTHER_TESTS, TO_READ
from werkzeug.exceptions import NotFound

SIZES = {"phone": {"width": 360, "height": 740}, "desktop": {"width": 1280, "height": 900}}


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


def test_public_pages(visit, site, axe, members):
    site.open_to_all()
    page = visit()
    for path in TO_READ:
        page.goto(path.format(**members))
        assert not page.url.startswith(f"{site.url}/login"), path
        assert page.locator("main").count() == 1
        check(page, axe, f"{path}, without an account")


def test_no_page_is_forgotten(site):
    """What is listed in pages.py is all that there is."""
    address = site.app.url_map.bind("127.0.0.1")

    def view(path):
        try:
            return address.match(urlsplit(re.sub(r"{\w+}", "1", path)).path)[0]
        except NotFound:
            return None

    listed = {*map(view, [*FOR_VISITORS, *FOR_MEMBERS]), *NO_PAGES, *OF_OTHER_TESTS}
    rules = [rule for rule in site.app.url_map.iter_rules() if not rule.rule.startswith("/api/")]
    assert {rule.endpoint for rule in rules if "GET" in rule.methods} == listed - {None}


def test_members_pages(visit, axe, members):
    page = visit("susan")
    for path in FOR_MEMBERS:
        page.goto(path.format(**members))
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
