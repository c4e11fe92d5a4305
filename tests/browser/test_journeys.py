"""What people come for, from end to end."""

import re

import pytest
from live_site import PASSWORD, login
from playwright.sync_api import expect

LOG_IN = {"en": "Log in", "es": "Iniciar sesión", "ru": "Войти"}


def register(page, name):
    page.goto("/register")
    fill_in(page, name)


def fill_in(page, name):
    page.fill("#username", name)
    page.fill("#email", f"{name}@example.org")
    page.fill("#password", PASSWORD)
    page.fill("#password2", PASSWORD)
    page.click("main [type=submit]")


def write(page, text):
    page.goto("/")
    page.fill("#body", text)
    page.click(".composer [type=submit]")
    expect(page.locator(".post-body").first).to_have_text(text)


def log_out(page):
    page.click("details.top-user summary")
    page.click("form[action='/logout'] button")


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("language", ["en", "es", "ru"])
def test_meet_and_write(site, visit, language, scripts):
    """Register, write, find, follow, read at home, unfollow, log out."""
    site.user("david")
    site.post("david", "Hello from David")
    page = visit(locale=language, java_script_enabled=scripts)
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("lang", language)
    expect(page.locator(".hero-actions")).to_contain_text(LOG_IN[language])
    register(page, "susan")
    write(page, "First words 😀")
    page.goto("/explore")
    page.click(".post-author >> text=david")
    page.click("form[action='/user/david/follow'] button")
    expect(page.locator("form[action='/user/david/unfollow']")).to_be_visible()
    page.click("a[href='/user/david/followers']")
    expect(page.locator(".people")).to_contain_text("susan")
    page.goto("/")
    expect(page.locator(".feed")).to_contain_text("Hello from David")
    page.goto("/user/david")
    page.click("form[action='/user/david/unfollow'] button")
    page.goto("/")
    expect(page.locator(".feed")).not_to_contain_text("Hello from David")
    log_out(page)
    page.goto("/explore")
    expect(page).to_have_url(re.compile("/login"))


def test_search(site, visit):
    site.user("susan")
    site.post("susan", "The quick brown fox")
    site.post("susan", "Быстрая лиса")
    page = visit("susan")
    page.fill(".top-search input", "лиса")
    page.keyboard.press("Enter")
    expect(page.locator(".post-body")).to_have_text(["Быстрая лиса"])
    page.fill(".search input", "quick brown")
    page.click(".search button")
    expect(page.locator(".post-body")).to_have_text(["The quick brown fox"])
    page.fill(".search input", '"*() AND')
    page.click(".search button")
    expect(page.locator(".empty")).to_be_visible()


def test_older_and_newer(site, visit):
    site.user("susan")
    for number in range(45):
        site.post("susan", f"number {number}.", minutes_ago=45 - number)
    page = visit("susan")
    for first in ("number 44.", "number 24.", "number 4."):
        expect(page.locator(".post-body").first).to_have_text(first)
        if first != "number 4.":
            page.click("[rel=next]")
    for first in ("number 24.", "number 44."):
        page.click("[rel=prev]")
        expect(page.locator(".post-body").first).to_have_text(first)


def test_language_is_a_setting(site, visit):
    site.user("susan")
    page = visit("susan")
    page.goto("/settings")
    page.fill("#about", "Likes https://example.org")
    page.select_option("#locale", "ru")
    page.click("main [type=submit]")
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    page.goto("/user/susan")
    expect(page.locator(".profile a[rel~=ugc]")).to_have_text("example.org")
    # It is the account's, wherever its owner logs in.
    other = visit("susan", locale="es")
    expect(other.locator("html")).to_have_attribute("lang", "ru")


@pytest.mark.parametrize("language, words", [("en", "sets a new password"), ("ru", "парол")])
def test_a_forgotten_password(site, visit, language, words):
    site.user("susan", locale=language)
    page = visit(locale=language)
    page.goto("/login")
    page.click("a[href='/reset']")
    page.fill("#email", "susan@example.org")
    page.click("main [type=submit]")
    assert words in site.mailbox.letter("susan@example.org").get_content()
    link = site.mailbox.link("susan@example.org")
    page.goto(link)
    for field in page.locator("input[type=password]").all():
        field.fill("an entirely new one")
    page.click("main [type=submit]")
    login(page, "susan", "an entirely new one")
    # A link works once.
    other = visit()
    other.goto(link)
    expect(other.locator("input[type=password]")).to_have_count(0)


@pytest.mark.parametrize("scripts", [True, False])
def test_delete_a_post(site, visit, scripts):
    site.user("susan")
    site.user("david")
    site.post("david", "Not hers")
    site.post("susan", "Regrets")
    page = visit("susan", java_script_enabled=scripts)
    page.goto("/explore")
    # Others' posts may be reported.
    expect(page.locator(".post .menu")).to_have_count(2)
    expect(page.locator(".post .menu button")).to_have_count(1)
    page.click(".post:has(.menu button) summary")
    page.click(".post .menu button")
    expect(page).to_have_url(re.compile("/explore"))
    expect(page.locator(".post-body")).to_have_text(["Not hers"])


def test_administration(site, visit):
    site.user("boss", is_admin=True)
    site.user("troll")
    site.post("troll", "Something nasty")
    troll = visit("troll")
    page = visit("boss")
    page.goto("/explore")
    page.click(".post .menu summary")
    page.click(".post .menu button")
    expect(page.locator(".post-body")).to_have_count(0)
    page.goto("/admin?q=troll")
    page.click("form[action='/admin/user/troll/suspend'] button")
    page.goto("/admin")
    page.click("a[href='/admin/registration']")
    page.check("text=Nobody")
    page.click("#submit")
    troll.goto("/explore")
    expect(troll).to_have_url(re.compile("/login"))
    newcomer = visit()
    newcomer.goto("/register")
    expect(newcomer.locator("#username")).to_have_count(0)


def test_an_invitation(site, visit):
    site.user("boss", is_admin=True)
    page = visit("boss")
    page.goto("/admin/registration")
    page.check("text=Whoever has an invitation")
    page.check("#approval")
    page.click("#submit")
    page.fill("#note", "The neighbours")
    page.click("#invite")
    link = page.locator("main code").inner_text()
    expect(page.locator("main")).to_contain_text("1 person may still use it")
    stranger = visit()
    stranger.goto("/register")
    expect(stranger.locator("#username")).to_have_count(0)
    neighbour = visit()
    neighbour.goto(link)
    fill_in(neighbour, "neighbour")
    expect(neighbour.locator("details.top-user")).to_be_visible()
    stranger.goto(link)
    expect(stranger.locator("h1")).to_have_text("By invitation")


def test_the_end_of_an_account(site, visit):
    site.user("susan")
    site.post("susan", "Soon gone")
    page = visit("susan")
    page.goto("/settings/delete")
    page.fill("#password", PASSWORD)
    page.click("main [type=submit]")
    page.goto("/login")
    page.fill("#username", "susan")
    page.fill("#password", PASSWORD)
    page.click("main [type=submit]")
    expect(page.locator(".alert-danger")).to_be_visible()


def test_by_keyboard_alone(site, visit):
    site.user("susan")
    page = visit()
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.goto("/login")
    expect(page.locator("#username")).to_be_focused()
    page.keyboard.type("susan")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator(".composer")).to_be_visible()
    # The menu opens, closes, and gives the focus back.
    page.locator("details.top-user summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("details.top-user a").first).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.locator("details.top-user a").first).to_be_hidden()
    expect(page.locator("details.top-user summary")).to_be_focused()
    page.keyboard.press("Enter")
    page.locator("form[action='/logout'] button").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".notice")).to_be_visible()


def test_characters_are_counted_as_the_server_does(site, visit):
    site.user("susan")
    page = visit("susan")
    for text, left in [("", "140"), ("abc", "137"), ("😀" * 140, "0"), ("  x\n", "139"), ("x" * 150, "-10")]:
        page.fill("#body", text)
        expect(page.locator(".count")).to_have_text(left)
    expect(page.locator(".count-over")).to_be_visible()
    page.fill("#body", "😀" * 140)
    page.click(".composer [type=submit]")
    expect(page.locator(".post-body").first).to_have_text("😀" * 140)


def test_times_are_the_readers(site, visit):
    site.user("susan")
    site.post("susan", "old", minutes_ago=60 * 24 * 800)
    site.post("susan", "recent", minutes_ago=90)
    for language, zone, ago in [
        ("en", "America/New_York", "1 hr. ago"),
        ("ru", "Asia/Vladivostok", "1 ч назад"),
        ("es", "Europe/Madrid", "hace 1 h"),
    ]:
        page = visit("susan", locale=language, timezone_id=zone)
        expect(page.locator(".post time").nth(0)).to_have_text(ago)
        year = page.evaluate("new Date(document.querySelectorAll('.post time')[1].dateTime).getFullYear()")
        expect(page.locator(".post time").nth(1)).to_contain_text(str(year))
        local = page.evaluate(
            """() => {
                const time = document.querySelectorAll(".post time")[1];
                const moment = new Date(time.dateTime);
                return time.title.includes(String(moment.getMinutes()).padStart(2, "0"));
            }"""
        )
        assert local
    page = visit("susan", java_script_enabled=False)
    expect(page.locator(".post time").nth(0)).to_have_text("1 h")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", page.locator(".post time").nth(0).get_attribute("title")
    )


@pytest.mark.parametrize("scripts", [True, False])
def test_translate(site, visit, axe, scripts):
    site.user("susan")
    site.post("susan", "buenos días", language="es")
    page = visit("susan", java_script_enabled=scripts)
    page.click(".translate button")
    expect(page.locator(".translation")).to_have_text("BUENOS DÍAS")
    if scripts:
        expect(page).to_have_url(f"{site.url}/")
        expect(page.locator(".translate button")).to_have_count(0)
        assert axe.violations(page) == []


@pytest.mark.parametrize("scripts", [True, False])
def test_a_translation_that_cannot_be_had(site, visit, axe, scripts):
    site.user("susan")
    site.post("susan", "!hola", language="es")
    page = visit("susan", java_script_enabled=scripts)
    page.click(".translate button")
    expect(page.locator(".problem, .alert-danger")).to_contain_text("does not answer")
    if scripts:
        expect(page.locator(".translate button")).to_be_enabled()
        assert axe.violations(page) == []


def test_a_translation_after_the_session_has_ended(site, visit):
    """What the script cannot do goes the plain way: to the log-in page."""
    site.user("susan")
    site.post("susan", "hola", language="es")
    page = visit("susan")
    page.context.clear_cookies()
    page.click(".translate button")
    expect(page.locator("main")).to_contain_text("Please log in")


def test_who_somebody_is(site, visit):
    """Beside the name: for a pointer, for the keyboard, for a finger; from there they are followed."""
    site.user("susan")
    site.user("david", "I write about <b>bread</b>")
    site.post("david", "Hello from David")
    page = visit("susan", has_touch=True)
    page.goto("/explore")
    card = page.locator(".person-card")
    page.hover(".post-author >> text=david")
    expect(card).to_contain_text("I write about <b>bread</b>")
    page.mouse.move(1, 1)
    expect(card).to_have_count(0)
    page.locator(".top-search input").focus()
    while not page.evaluate("document.activeElement.matches('.post-author')"):
        page.keyboard.press("Tab")
    expect(card).to_be_visible()
    page.keyboard.press("Escape")
    expect(card).to_have_count(0)
    page.locator(".post a:has(.avatar)").first.tap()
    expect(card).to_be_visible()
    expect(page).to_have_url(re.compile("/explore$"))
    card.locator("form[action='/user/david/follow'] button").click()
    expect(page).to_have_url(re.compile("/explore$"))
    expect(page.locator(".notice")).to_have_text("You follow david now.")


def test_the_home_screen(site, visit):
    site.user("susan")
    page = visit("susan")
    page.goto("/")
    said = page.evaluate("fetch('/manifest.webmanifest').then((answer) => answer.json())")
    assert said["start_url"] == "/" and said["display"] == "standalone"
    for icon in said["icons"]:
        sizes = page.evaluate(
            "(src) => createImageBitmap && fetch(src).then((answer) => answer.blob())"
            ".then(createImageBitmap).then((image) => `${image.width}x${image.height}`)",
            icon["src"],
        )
        assert sizes == icon["sizes"]


def test_likes_and_reposts_change_in_place(visit, site):
    """And without JavaScript as forms do; by the keyboard, too."""
    site.user("susan")
    number = site.post("susan", "Like this")
    page = visit("susan")
    page.goto("/explore")
    page.evaluate("window.unchanged = true")
    for act, label in (("like", "Like"), ("repost", "Pass on"), ("bookmark", "Keep for later")):
        button = page.get_by_role("button", name=label)
        for pressed, count in (("true", "1"), ("false", "")):
            button.focus()
            page.keyboard.press("Enter")
            page.wait_for_selector(f"[data-act={act}][aria-pressed={pressed}]:not([aria-busy=true])")
            if act != "bookmark":
                assert button.locator(".act-count").text_content() == count
    assert page.evaluate("window.unchanged")
    page.get_by_role("button", name="Like").click()
    page.wait_for_selector("[data-act=like][aria-pressed=true]")
    # What is gone meanwhile, a page says.
    site.delete(number)
    page.get_by_role("button", name="Like").click()
    page.wait_for_selector(".error-code")


def test_likes_without_a_script(visit, site):
    site.user("susan")
    number = site.post("susan", "Like this")
    page = visit("susan", java_script_enabled=False)
    page.goto("/explore")
    page.click("[data-act=like]")
    page.wait_for_selector("[data-act=like][aria-pressed=true]")
    assert page.url.endswith(f"/explore#post-{number}")
