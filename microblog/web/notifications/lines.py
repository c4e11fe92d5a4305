"""What notifications say."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from microblog.i18n import _, _n
from microblog.models.notifications import NotificationRow

# Of these, what several people did is one line.
_TOGETHER = ("follow", "like", "repost")


@dataclass
class Line:
    """Something that one or several people did.

    :ivar names: theirs, the latest first.
    :ivar created_at: when it was done last.
    :ivar body: of the post that it is about; None: it is about none.
    :ivar is_new: whether it was not seen before.
    """

    kind: str
    post_id: int
    names: list[str]
    created_at: datetime
    body: str | None
    is_new: bool

    @property
    def link(self) -> str:
        """Where there is more of it."""
        if self.kind == "message":
            return f"/messages/{self.names[0]}"
        return f"/post/{self.post_id}" if self.post_id else f"/user/{self.names[0]}"

    @property
    def text(self) -> Markup:
        """A sentence, with a link to who it was."""
        name = Markup('<a class="post-author" href="/user/{0}">{0}</a>').format(self.names[0])
        # Translations hold no HTML, and names are plain letters.
        return Markup(_says(self.kind, name, len(self.names) - 1))  # noqa: S704


def lines(rows: Iterable[NotificationRow], read_to: int) -> list[Line]:
    """Some notifications, newest first, as lines.

    :param read_to: the last one that was seen before.
    """
    found: list[Line] = []
    open_lines: dict[tuple[str, int], Line] = {}
    for row in rows:
        key = row.kind, row.post_id
        if row.kind in _TOGETHER and key in open_lines:
            open_lines[key].names.append(row.name)
            continue
        line = Line(row.kind, row.post_id, [row.name], row.created_at, row.body, row.id > read_to)
        open_lines[key] = line
        found.append(line)
    return found


def _says(kind: str, name: str, others: int) -> str:
    if kind == "follow":
        if others:
            return _n(
                "%(name)s and %(num)s other follow you",
                "%(name)s and %(num)s others follow you",
                others,
                name=name,
            )
        return _("%(name)s follows you", name=name)
    if kind == "like":
        if others:
            return _n(
                "%(name)s and %(num)s other like your post",
                "%(name)s and %(num)s others like your post",
                others,
                name=name,
            )
        return _("%(name)s likes your post", name=name)
    if kind == "repost":
        if others:
            return _n(
                "%(name)s and %(num)s other have passed your post on",
                "%(name)s and %(num)s others have passed your post on",
                others,
                name=name,
            )
        return _("%(name)s has passed your post on", name=name)
    if kind == "reply":
        return _("%(name)s answered you", name=name)
    if kind == "mention":
        return _("%(name)s mentioned you", name=name)
    return _("%(name)s wrote you a message", name=name)
