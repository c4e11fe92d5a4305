"""Every page, and people who fill them."""

from microblog.models.applications import NAME_MAX
from microblog.models.user import EMAIL_MAX, USERNAME_MAX

# As long as a name and an address may be, and as wide.
LONG_NAME = "W" * USERNAME_MAX
LONG_EMAIL = f"{'m' * 64}@{'w' * 63}.{'w' * 63}.".ljust(EMAIL_MAX - 4, "w") + ".org"

FOR_VISITORS = ["/", "/login", "/register", "/reset", "/nowhere", "/reset/x", "/join/x", "/certificate"]
# Where the site is public; and for members.
TO_READ = [
    "/explore",
    "/user/susan",
    "/user/david",
    "/user/susan/followers",
    "/user/susan/following",
    "/user/david/followers",
    "/post/{first}",
    "/post/{answer}",
    "/post/{gone}",
    "/post/{edited}/versions",
    "/tag/hello",
    "/tag/nothing",
    "/unsubscribe/{mails}",
    "/nowhere",
]
FOR_MEMBERS = [
    "/",
    *TO_READ,
    "/search",
    "/search?q=hello",
    "/search?q=nothing-like-it",
    "/notifications",
    "/messages",
    "/messages/david",
    "/bookmarks",
    "/likes",
    "/post/{edited}/edit",
    "/post/{reported}/report",
    "/user/david/report",
    "/settings",
    "/settings/email",
    "/settings/notifications",
    "/settings/people",
    "/settings/password",
    "/settings/passkeys",
    "/settings/programs",
    "/settings/second-factor",
    "/settings/sessions",
    "/settings/delete",
    "/oauth/authorize?response_type=code&client_id={program}&scope=read+write+follow",
    "/oauth/authorize?response_type=code&client_id=unknown",
    "/moderation",
    "/moderation/closed",
    "/moderation/log",
    "/admin",
    "/admin?q=nobody",
    "/admin/registration",
    "/admin/user/david/delete",
    "/first-run/site",
    "/first-run/address",
    "/first-run/backups",
    "/machine",
    "/machine/backups",
    "/machine/backups/upload",
    "/machine/backups/from",
    "/machine/backups/elsewhere",
    "/machine/mail",
    "/machine/name",
    "/machine/name/dns/rfc2136",
    "/machine/updates",
    "/machine/log?log=agent",
    "/machine/power",
    "/machine/job",
    "/machine/backups/job",
]
OF_THE_LONG_NAME = [f"/user/{LONG_NAME}", f"/user/{LONG_NAME}/followers", f"/user/{LONG_NAME}/following"]
# What is no page: pictures, files, feeds, what scripts ask for, and links that lead on.
NO_PAGES = {
    *("static", "health.healthz", "health.readyz", "manifest.manifest", "mastodon.metadata"),
    *("mastodon.node_info", "mastodon.where_node_info_is", "mastodon.web_finger", "mastodon.no_header"),
    *("people.avatar", "people.avatar_png", "people.card", "notifications.unread"),
    *("account.export", "account.confirm", "machine.choose_dns"),
    *("posts.feed_of_tag", "posts.feed_of_user"),
    *("certificate.download", "certificate.profile", "certificate.seen"),
}
# Pages that there are for a moment: the tests that come by them look at them.
OF_OTHER_TESTS = {
    *("first_run.welcome", "first_run.account", "auth.code", "machine.sheet", "account.recovery_codes"),
    *("account.second_off", "account.remove_passkey"),
}


def fill(site):
    """Make susan, an administrator; david, who writes; somebody suspended; and somebody with a long name.

    :return: the numbers of posts, a program's name of its own and what ends somebody's mails, by their names
        in the paths above.
    """
    site.user("susan", "About me: https://example.org and @david", is_admin=True)
    site.user("david")
    site.user("banned", suspended_at=site.now())
    site.user("away")
    site.user(LONG_NAME, f"{'w' * 100} @susan", email=LONG_EMAIL, is_admin=True)
    site.follow("susan", "david", LONG_NAME)
    site.follow("david", "susan")
    site.follow(LONG_NAME, "susan", "david")
    site.message("david", "susan", f"hello https://example.org/{'x' * 80}")
    site.message("susan", "david", "hello")
    for number in range(25):
        site.post("david", f"hello {number} @susan https://example.org/{'x' * 80}", minutes_ago=25 - number)
    site.post(LONG_NAME, "W" * 140)
    site.post("susan", "hola", language="es")
    first = site.post(LONG_NAME, f"#{'w' * 64} #hello, who is there?", minutes_ago=3)
    gone = site.post("david", "@susan nobody", first)
    answer = site.post("susan", f"@{LONG_NAME} I am", gone)
    site.post("david", "Me, too", first)
    edited = site.post("susan", "a mistake")
    reported = site.post("david", "W" * 140)
    site.change("susan", gone=gone, edited=edited, liked=first)
    for name in ("susan", LONG_NAME):
        site.keep_away(name, blocked="away", muted="banned")
    site.report(LONG_NAME, "david", "w" * 100, reported)
    site.close_reports("susan")
    site.report(LONG_NAME, "david", "w" * 100, reported)
    site.report("david", LONG_NAME, "A name that is too long.")
    program = site.program("W" * NAME_MAX, "susan", LONG_NAME)
    numbers = {"first": first, "gone": gone, "answer": answer, "edited": edited, "reported": reported}
    return {**numbers, "program": program, "mails": site.ends_mails(LONG_NAME)}
