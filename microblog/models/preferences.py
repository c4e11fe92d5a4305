"""What somebody has chosen, and how far they have read."""

from typing import Any

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, upsert


class Preferences(db.Model):  # type: ignore[name-defined, misc]
    """What somebody has chosen, and how far they have read: a row of their own, that nobody else waits for.
    No row: nothing is chosen, nothing read."""

    __tablename__ = "preferences"

    user_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    # Kinds of notifications that they do not want, with commas between.
    silent = field(sa.String(255), nullable=False, default="", server_default="")
    # Whether what they have not read comes by mail, once a day.
    by_mail = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    # The last notification that they have seen, and the last that was mailed, and when.
    read_to = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    mailed_to = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    mailed_at = field(sa.DateTime)
    # Who may write to them besides those who are followed back: nobody, or everybody.
    messages_from_all = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    hides_last_seen = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    # On a site that is public: whether the profile is for members alone.
    members_only = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    # Where the site takes pictures from Gravatar: whether theirs may be, by a digest of their address.
    gravatar = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))

    # Who was mailed longest ago is the next.
    __table_args__ = (sa.Index(None, by_mail, mailed_at), TABLE_OPTIONS)


def last_seen(users: Any) -> Any:
    """When somebody was last seen, as a column for others: None where that is not for them.

    :param users: the table of accounts, in a statement that has this module's, too.
    """
    chosen: Any = Preferences.__table__
    shown = sa.case((chosen.c.hides_last_seen.is_(True), None), else_=users.c.last_seen)
    # SQLAlchemy 1.4 takes the first value's kind for that of all.
    return sa.type_coerce(shown, sa.DateTime).label("last_seen")


def of(user_id: int) -> Preferences:
    """Somebody's, to be read; to change them, see :func:`change`."""
    found: Preferences | None = db.session.get(Preferences, user_id)
    if found is not None:
        return found
    table: Any = Preferences.__table__
    defaults = {column.name: column.default.arg for column in table.columns if column.default is not None}
    return Preferences(user_id=user_id, **defaults)


def change(user_id: int, **values: Any) -> None:
    """Set some of them; the caller commits."""
    upsert(db.session.connection(), Preferences.__table__, {"user_id": user_id}, values)
    known = db.session.identity_map.get(db.session.identity_key(Preferences, user_id))
    if known is not None:
        db.session.expire(known)


def as_values(user_id: int) -> dict[str, Any]:
    """Somebody's, for their export."""
    chosen = of(user_id)
    names = ("silent", "by_mail", "messages_from_all", "hides_last_seen", "members_only")
    return {name: getattr(chosen, name) for name in names}
