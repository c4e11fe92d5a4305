"""The tutorial's rows as ours: what our forms would not take is changed or left out, and named.

Accounts and posts keep their numbers, passwords their hashes. The tutorial's times are UTC, as ours.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from microblog.host.handmade.read import Row

# The schema of the rows that come out; the migrations since then count them and make them found.
REVISION = "0003"
USER_COLUMNS = ("id", "username", "name_key", "email", "password_hash", "created_at", "about", "last_seen")
POST_COLUMNS = ("id", "author_id", "body", "created_at", "language")
FOLLOW_COLUMNS = ("follower_id", "followed_id", "created_at")
# As Werkzeug writes them (werkzeug.security.generate_password_hash).
_HASH = re.compile(
    r"pbkdf2:[a-z0-9]+:[0-9]{1,9}\$[^$]+\$[0-9a-f]{32,128}"
    r"|scrypt:[0-9]{1,8}:[0-9]{1,4}:[0-9]{1,4}\$[^$]+\$[0-9a-f]{128}"
)
# No password has this hash.
NO_PASSWORD = "!"  # noqa: S105
_NUMBER_MAX = 2**31 - 1


@dataclass
class Conversion:
    """One old site.

    :param remark: is told of each row that is not as it was.
    :param now: for what the old site does not tell.
    """

    remark: Callable[[str], None]
    now: datetime
    # The time of each account's first sign of life, by the account's number.
    begun: dict[int, datetime] = field(default_factory=dict)

    def users(self, old: Iterable[Row], first_posts: dict[int, datetime]) -> Iterator[list[Any]]:
        """Accounts.

        :param first_posts: when each account has written its first post.
        """
        from microblog.models.user import ABOUT_MAX, clean_about

        found = [row for row in old if self._numbered("account", row)]
        names, addresses = _names(found), set[str]()
        for row in found:
            number = int(row["id"])
            who = f"account {number} ({_shown(row['username'])})"
            name = names[number]
            if name != row["username"]:
                self.remark(f"{who}: is called {name} here")
            email = _address(row["email"])
            if not email or email in addresses:
                why = "another account has its address" if email else f"{_shown(row['email'])} is no address"
                email = f"account{number}@unknown.invalid"
                self.remark(f"{who}: {why}: it has none here, and comes in by its name")
            addresses.add(email)
            password = str(row["password_hash"] or "")
            if not _HASH.fullmatch(password) or len(password) > 255:
                password = NO_PASSWORD
                self.remark(f"{who}: has no password that can be checked: it needs a new one")
            about = clean_about(_text(row["about_me"]))
            if len(about) > ABOUT_MAX:
                about = about[: ABOUT_MAX - 1] + "…"
                self.remark(f"{who}: what it says of itself was too long, and is cut")
            seen = _moment(row["last_seen"])
            times = [time for time in (first_posts.get(number), seen) if time]
            self.begun[number] = min(times, default=self.now)
            yield [
                *(number, name, name.lower(), email, password, str(self.begun[number]), about),
                str(seen) if seen else None,
            ]

    def posts(self, old: Iterable[Row]) -> Iterator[list[Any]]:
        """Posts of accounts that were taken."""
        from microblog.models.post import POST_MAX, clean_body

        last = None
        for row in old:
            if not self._numbered("post", row, 2**63 - 1):
                continue
            number = int(row["id"])
            author = row["user_id"]
            if author not in self.begun:
                self.remark(f"post {number}: left out: its author ({_shown(author)}) is nobody")
                continue
            body = clean_body(_text(row["body"]))
            if not body:
                self.remark(f"post {number}: left out: there is nothing to see in it")
                continue
            if len(body) > POST_MAX:
                body = body[: POST_MAX - 1] + "…"
                self.remark(f"post {number}: is longer than {POST_MAX} characters, and is cut")
            written = _moment(row["timestamp"])
            if written is None:
                written = last or self.begun[author]
                self.remark(f"post {number}: has no time: it has that of the post before it")
            last = written
            yield [number, author, body, str(written), _language(row["language"])]

    def follows(self, old: Iterable[Row]) -> Iterator[list[Any]]:
        """Who follows whom, each once; nobody themselves."""
        seen = set()
        for row in old:
            pair = (row["follower_id"], row["followed_id"])
            if pair[0] == pair[1] or pair in seen:
                continue
            seen.add(pair)
            if not {*pair} <= self.begun.keys():
                self.remark(f"{_shown(pair[0])} follows {_shown(pair[1])}: left out: one of them is nobody")
                continue
            yield [*pair, str(self.now)]

    def _numbered(self, what: str, row: Row, most: int = _NUMBER_MAX) -> bool:
        good = isinstance(row["id"], int) and 0 < row["id"] <= most
        if not good:
            self.remark(f"{what} {_shown(row['id'])}: left out: that is no number of ours")
        return good


def first_posts(old: Iterable[Row]) -> dict[int, datetime]:
    """When each account has written its first post."""
    found: dict[int, datetime] = {}
    for row in old:
        written, author = _moment(row["timestamp"]), row["user_id"]
        if written and (author not in found or written < found[author]):
            found[author] = written
    return found


def _names(found: list[Row]) -> dict[int, str]:
    """Each account's name here: its own where that can be, else one that resembles it."""
    from microblog.models.user import RESERVED, USERNAME_MAX, USERNAME_MIN, is_username

    def good(name: str) -> bool:
        return is_username(name) and name.lower() not in taken

    taken, names = set(RESERVED), dict[int, str]()
    # Who may keep their name keeps it, whoever comes first.
    for row in found:
        if good(_text(row["username"])):
            names[int(row["id"])] = _text(row["username"])
            taken.add(names[int(row["id"])].lower())
    for row in found:
        if int(row["id"]) in names:
            continue
        text = unicodedata.normalize("NFKD", _text(row["username"])).encode("ascii", "ignore").decode()
        text = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[: USERNAME_MAX - 12]
        text = (text or "user").ljust(USERNAME_MIN, "_")
        name = next(
            name for name in (text, f"{text}_", f"{text}_{row['id']}", f"user_{row['id']}_") if good(name)
        )
        names[int(row["id"])] = name
        taken.add(name.lower())
    return names


def _address(value: Any) -> str:
    """As the form takes it; empty if it does not."""
    from microblog.models.user import is_email

    text = _text(value).strip().lower()
    return text if is_email(text) else ""


def _language(value: Any) -> str | None:
    """Its ISO 639-1 code; the tutorial has "" for what was not recognised, and at times zh-cn."""
    code = _text(value).lower().partition("-")[0]
    return code if re.fullmatch(r"[a-z]{2}", code) else None


def _moment(value: Any) -> datetime | None:
    """A time in UTC; None for what is none. SQLite has text, MySQL times, and 0000-00-00 for none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip().removesuffix("Z"))
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    moment: datetime = value
    try:
        return moment.astimezone(timezone.utc).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError:
        # In the first or the last of all years, somewhere.
        return None


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    return "" if value is None else str(value)


def _shown(value: Any) -> str:
    """For a line of a report: no newline or control character of somebody's gets there."""
    return re.sub(r"[^ -~\u00a0-\uffff]", "?", _text(value))[:60] or "nothing"
