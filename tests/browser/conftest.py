"""A real browser, a real server."""

from pathlib import Path

import pytest
from axe import Axe
from live_site import Site, login
from playwright.sync_api import sync_playwright

from builder import assets, translations
from builder.needs import Program

NEEDS = (
    Program("chromium", "chromium"),
    Program("openssl", "openssl"),
)

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def running_site(tmp_path_factory):
    assets.install(ROOT / "microblog" / "static")
    translations.compile_all(ROOT / "microblog" / "translations")
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.close()


@pytest.fixture
def site(running_site):
    """The site, without anybody."""
    yield running_site
    running_site.empty()


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, site):
    """Open a browser window of somebody new on the site; what goes wrong in it fails the test."""
    contexts, problems = [], []

    def note_errors(message):
        # What could not be loaded is noted below.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            problems.append(message.text)

    def note_failures(response):
        # A page may be missing, or an answer to a script; what a page is made of may not.
        if response.status >= (500 if response.request.resource_type in ("document", "fetch") else 400):
            problems.append(f"{response.status} {response.url}")

    def visit(user=None, **options):
        context = chromium.new_context(
            **{"base_url": site.url, "locale": "en", "reduced_motion": "reduce", **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", note_errors)
        page.on("response", note_failures)
        if user:
            login(page, user)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="session")
def axe():
    return Axe()
