"""Every page, and people who fill them."""

from microblog.models.user import EMAIL_MAX, USERNAME_MAX

FOR_VISITORS = ["/", "/login", "/register", "/reset", "/nowhere", "/reset/x", "/join/x"]
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
    *("/notifications", "/messages", "/messages/david"),
    *("/post/{first}", "/post/{answer}", "/post/{gone}", "/post/{edited}/versions", "/post/{edited}/edit"),
    *("/tag/hello", "/tag/nothing", "/bookmarks"),
    *(
        "/settings",
        "/settings/email",
        "/settings/notifications",
        "/settings/password",
        "/settings/sessions",
        "/settings/second-factor",
        "/settings/programs",
        "/settings/delete",
        "/settings/people",
        "/user/david/report",
        "/moderation",
        "/moderation/closed",
        "/moderation/log",
        "/admin/user/david/delete",
        "/admin",
        "/admin?q=nobody",
        "/admin/registration",
        "/first-run/site",
        "/first-run/address",
        "/first-run/backups",
    ),
    *("/machine", "/machine/backups", "/machine/backups/upload", "/machine/backups/from", "/machine/mail"),
    *("/machine/backups/elsewhere", "/machine/name", "/machine/log?log=agent", "/machine/power"),
]

# As long as a name and an address may be, and as wide.
LONG_NAME = "W" * USERNAME_MAX
LONG_EMAIL = f"{'m' * 64}@{'w' * 63}.{'w' * 63}.".ljust(EMAIL_MAX - 4, "w") + ".org"
OF_THE_LONG_NAME = [f"/user/{LONG_NAME}", f"/user/{LONG_NAME}/followers", f"/user/{LONG_NAME}/following"]


def fill(site):
    """Make susan, an administrator; david, who writes; somebody suspended; and somebody with a long name.

    :return: the numbers of posts, by their names in the paths above.
    """
    site.user("susan", "About me: https://example.org and @david", is_admin=True)
    site.user("david")
    site.user("banned", suspended_at=site.now())
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
    site.change("susan", gone=gone, edited=edited, liked=first)
    return {"first": first, "gone": gone, "answer": answer, "edited": edited}
