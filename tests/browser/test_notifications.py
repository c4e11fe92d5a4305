"""The numbers beside the links, on a page that lies open; and messages, with and without scripts."""

import pytest
from playwright.sync_api import expect

MINUTE = 61_000


def test_a_page_that_is_seen_asks_once_a_minute_and_one_that_is_hidden_does_not(site, visit):
    for name in ("susan", "david"):
        site.user(name)
    page = visit("susan")
    asked = []
    page.on("response", lambda answer: asked.append(answer.status) if "/unread" in answer.url else None)
    page.clock.install()
    page.goto("/explore")
    news = page.locator(".top-number").first
    expect(news).to_have_text("")
    site.follow("david", "susan")
    with page.expect_response("**/notifications/unread"):
        page.clock.run_for(MINUTE)
    expect(news).to_have_text("1")
    with page.expect_response("**/notifications/unread"):
        page.clock.run_for(MINUTE)
    assert asked == [200, 304]
    hide = "hidden => Object.defineProperty(document, 'hidden', {value: hidden, configurable: true})"
    page.evaluate(hide, True)
    page.clock.run_for(5 * MINUTE)
    page.evaluate(hide, False)
    # Seen again, it does not wait for the next minute.
    with page.expect_response("**/notifications/unread"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert asked == [200, 304, 304]
    page.click(".top-icons a[href='/notifications']")
    expect(page.locator(".post-new")).to_contain_text("david follows you")
    expect(news).to_have_text("")


@pytest.mark.parametrize("scripts", [True, False])
def test_two_people_write_to_each_other(site, visit, scripts):
    for name in ("susan", "david"):
        site.user(name)
    site.follow("david", "susan")
    susan = visit("susan", java_script_enabled=scripts)
    susan.goto("/user/david")
    susan.click("form[action='/user/david/follow'] button")
    susan.click("a[href='/messages/david']")
    susan.fill("#body", "Hello David 😀")
    susan.click(".composer [type=submit]")
    expect(susan.locator("article .post-body")).to_have_text("Hello David 😀")
    david = visit("david", java_script_enabled=scripts)
    david.goto("/")
    expect(david.locator(".top-number").last).to_have_text("1")
    david.click(".top-icons a[href='/messages']")
    david.click(".post-author >> text=susan")
    expect(david.locator("article .post-body")).to_have_text("Hello David 😀")
    david.click("form.aside button")
    expect(david.locator(".notice")).to_contain_text("susan")
    susan.goto("/messages/david")
    expect(susan.locator("article .post-body")).to_have_count(1)
