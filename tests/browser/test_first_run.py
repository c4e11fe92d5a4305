"""A new site, from "This Microblog is new" to its first page."""

import re

import pytest
from live_site import Site
from playwright.sync_api import expect
from test_accessibility import check
from test_phones import outside

CODE = "BCDFGHJK"
PASSWORD = "eleven quiet herons"


@pytest.fixture
def new_site(running_site, tmp_path):
    """One that nobody has claimed, with what the other has been made of."""
    site = Site(tmp_path, CLAIM_CODE=CODE)
    yield site
    site.close()


@pytest.mark.parametrize("language", ["en", "es", "ru"])
def test_by_keyboard_alone_on_a_phone_without_javascript(new_site, visit, language):
    page = visit(
        base_url=new_site.url,
        java_script_enabled=False,
        viewport={"width": 360, "height": 740},
        locale="en",
    )
    page.goto("/login")
    expect(page).to_have_url(f"{new_site.url}/first-run")
    page.click(f"a[hreflang={language}]")
    expect(page.locator("html")).to_have_attribute("lang", language)
    # The field is ready to be written in: on a slow machine, somewhat later than its page is there.
    ready = page.locator("main input:focus")
    expect(ready).to_have_count(1)
    page.keyboard.type("bcdf-ghjk")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/first-run/account$"))
    expect(ready).to_have_count(1)
    for word in ("susan", "susan@example.org", PASSWORD, PASSWORD):
        page.keyboard.type(word)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/first-run/site$"))
    expect(ready).to_have_count(1)
    page.keyboard.press("Control+A")
    page.keyboard.type("Our Garden")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/first-run/address$"))
    expect(page.locator(".brand")).to_have_text(re.compile("Our Garden|Microblog"))
    expect(page.locator("html")).to_have_attribute("lang", language)
    page.click(".aside a")
    page.click(".aside a")
    expect(page).to_have_url(f"{new_site.url}/")


def test_its_pages_are_for_everybody(new_site, visit, axe):
    page = visit(base_url=new_site.url, locale="ru")

    def look(name):
        check(page, axe, name)
        assert outside(page) == [], name

    page.goto("/")
    look("a new site")
    page.fill("#code", "wrong")
    page.click("main [type=submit]")
    expect(page.locator(".alert-danger, .invalid-feedback")).to_be_visible()
    look("a wrong code")
    page.fill("#code", CODE)
    page.click("main [type=submit]")
    page.click("summary")
    look("the owner's account")
    page.click("form:has(#username) [type=submit]")
    expect(page.locator("#username-error")).to_be_visible()
    look("the owner's account, empty")
    for name, value in (("username", "susan"), ("email", "susan@example.org")):
        page.fill(f"#{name}", value)
    page.fill("#password", PASSWORD)
    page.fill("#password2", PASSWORD)
    page.click("form:has(#username) [type=submit]")
    expect(page.locator("#mode-0")).to_be_checked()
    look("the site")
    page.click("main [type=submit]")
    page.fill("#domain", "microblog.local")
    page.click("main [type=submit]")
    expect(page.locator("#domain-error")).to_be_visible()
    look("its name")
    page.click(".aside a")
    look("its backups")
