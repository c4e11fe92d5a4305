"""A real browser, a real server."""

from pathlib import Path

import fonts
import pages
import pytest
from axe import Axe
from live_site import Site, login
from playwright.sync_api import sync_playwright

from builder.core.needs import Program
from builder.deb import assets, translations

NEEDS = (
    Program("chromium", "chromium"),
    Program("openssl", "openssl"),
    Program("certutil", "libnss3-tools"),
    # The agent's, for a backup's way by SSH.
    Program("ssh-keygen", "openssh-client"),
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
def chromium(tmp_path_factory):
    """The browser with a set of fonts: one for each set that is asked for."""
    browsers = {}
    with sync_playwright() as playwright:

        def with_fonts(name):
            if name not in browsers:
                environment = fonts.environment(name, tmp_path_factory.mktemp(f"fonts-{name}"))
                browsers[name] = playwright.chromium.launch(executable_path=CHROMIUM, env=environment)
            return browsers[name]

        yield with_fonts
        for browser in browsers.values():
            browser.close()


@pytest.fixture
def visit(chromium, site):
    """Open a browser window of somebody new on the site; what goes wrong in it fails the test.

    Its language, time zone and fonts are what the test says, not what the machine has.
    """
    contexts, problems = [], []

    def note_errors(message):
        # What could not be loaded is noted below.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            problems.append(message.text)

    def note_failures(response):
        # A page may be missing, or an answer to a script; what a page is made of may not.
        if response.status >= (500 if response.request.resource_type in ("document", "fetch") else 400):
            problems.append(f"{response.status} {response.url}")

    def visit(user=None, letters="wide", **options):
        usual = {"base_url": site.url, "locale": "en", "timezone_id": "UTC", "reduced_motion": "reduce"}
        context = chromium(letters).new_context(**{**usual, **options})
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


@pytest.fixture
def members(site):
    """People who write to each other; susan is the administrator. The numbers of some posts, by name."""
    return pages.fill(site)


@pytest.fixture(scope="session")
def axe():
    return Axe()
