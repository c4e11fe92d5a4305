"""A passkey, made and shown by a real browser with a device of its own (WebAuthn's virtual authenticator)."""

import pytest
from live_site import PASSWORD, login
from playwright.sync_api import expect

from microblog.database import db
from microblog.models import User, passkeys, second_factor

DEVICE = {
    **{"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True},
    **{"isUserVerified": True, "automaticPresenceSimulation": True},
}


@pytest.fixture
def by_name(site, visit):
    """A window on the site by a name: for an address, no browser makes a passkey."""
    page = visit(base_url=site.url.replace("127.0.0.1", "localhost"))
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    page.device = session.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})["authenticatorId"]
    page.cdp = session
    return page


def log_in_half(page):
    page.goto("/login")
    page.fill("#username", "susan")
    page.fill("#password", PASSWORD)
    page.click("main form [type=submit]")
    page.wait_for_url("**/login/code**")


def test_a_passkey_is_as_good_as_a_code(site, by_name):
    site.user("susan")
    login(by_name, "susan")
    with site.app.app_context():
        codes = second_factor.turn_on(User.find("susan"), second_factor.new_seed(), 0)
        db.session.commit()
    by_name.goto("/settings/second-factor")
    by_name.click("text=Passkeys")
    by_name.fill("#name", "My computer")
    by_name.fill("#password", PASSWORD)
    by_name.fill("#code", codes[0])
    by_name.click("main form [type=submit]")
    by_name.click("form.passkey button")
    expect(by_name.locator("main")).to_contain_text("as good as a code")
    expect(by_name.locator("main")).to_contain_text("My computer")
    (kept,) = by_name.cdp.send("WebAuthn.getCredentials", {"authenticatorId": by_name.device})["credentials"]
    assert kept["rpId"] == "localhost"

    by_name.context.clear_cookies()
    log_in_half(by_name)
    by_name.click("form.passkey button")
    by_name.wait_for_selector("details.top-user")
    with site.app.app_context():
        (one,) = passkeys.of(User.find("susan").id)
        assert one.used_at
        assert one.counter > 0

    # Without the device, the page says so, and a recovery code is taken.
    by_name.context.clear_cookies()
    by_name.cdp.send("WebAuthn.clearCredentials", {"authenticatorId": by_name.device})
    log_in_half(by_name)
    by_name.click("form.passkey button")
    expect(by_name.locator("form.passkey [role=status]")).to_have_text("The browser has shown no passkey.")
    by_name.fill("#code", codes[1])
    by_name.click("form:not(.passkey) [type=submit]")
    by_name.wait_for_selector("details.top-user")


def test_by_its_address_it_says_why_there_are_none(site, visit, axe):
    site.user("susan")
    page = visit("susan")
    with site.app.app_context():
        second_factor.turn_on(User.find("susan"), second_factor.new_seed(), 0)
        db.session.commit()
    page.goto("/settings/passkeys")
    expect(page.locator("main")).to_contain_text("by HTTPS and by its name")
    assert axe.violations(page) == []
