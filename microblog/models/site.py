"""What an administrator sets in the browser, for all machines of the site."""

from typing import NamedTuple

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field

REGISTRATION = "registration"
APPROVAL = "approval"
PUBLIC = "public"
NAME = "site name"
LANGUAGE = "language"
CLAIMED = "claimed"
TRUSTED = "trusted authority"

# Who may register: everybody (no row), who has an invitation, nobody.
OPEN, INVITED, CLOSED = "open", "invited", "closed"
MODES = (OPEN, INVITED, CLOSED)

NAME_MAX = 40


class Setting(db.Model):  # type: ignore[name-defined, misc]
    """A setting that is not at its default."""

    __tablename__ = "settings"
    __table_args__ = TABLE_OPTIONS

    name = field(sa.String(32), primary_key=True)
    value = field(sa.String(255), nullable=False)


class Registration(NamedTuple):
    """:ivar mode: one of ``MODES``.
    :ivar approval: whether an administrator lets each new account in, but for those who were invited.
    """

    mode: str
    approval: bool


def registration() -> Registration:
    """Who may make accounts."""
    found = _values(REGISTRATION, APPROVAL)
    mode = found.get(REGISTRATION, OPEN)
    # What another version has written, and this one does not know, opens nothing.
    return Registration(mode if mode in MODES else CLOSED, APPROVAL in found)


def set_registration(mode: str, approval: bool | None = None) -> None:
    """The caller commits. :param approval: None leaves it as it is."""
    _set(REGISTRATION, "" if mode == OPEN else mode)
    if approval is not None:
        _set(APPROVAL, "yes" if approval else "")


class Looks(NamedTuple):
    """:ivar name: the site's; empty where none is set here.
    :ivar language: for visitors whose browser prefers none of those that there are, and for mails; empty
        where none is set here.
    :ivar public: whether who is no member may read, too.
    """

    name: str = ""
    language: str = ""
    public: bool = False


def looks() -> Looks:
    """What the site is called, and what it speaks. In a connection of its own: any page may ask."""
    settings = Setting.__table__
    query = sa.select(settings.c.name, settings.c.value).where(settings.c.name.in_((NAME, LANGUAGE, PUBLIC)))
    with db.engine.connect() as connection:
        found = {row.name: row.value for row in connection.execute(query)}
    return Looks(found.get(NAME, ""), found.get(LANGUAGE, ""), PUBLIC in found)


def set_looks(new: Looks) -> None:
    """The caller commits. Who may read is set apart: see :func:`set_public`."""
    _set(NAME, new.name)
    _set(LANGUAGE, new.language)


def set_public(public: bool) -> None:
    """Whether who is no member may read; the caller commits."""
    _set(PUBLIC, "yes" if public else "")


def is_trusted(fingerprint: str) -> bool:
    """Whether a device was seen that trusts the site's own authority, by that authority's fingerprint."""
    return _values(TRUSTED).get(TRUSTED) == fingerprint


def note_trusted(fingerprint: str) -> None:
    """The caller commits."""
    _set(TRUSTED, fingerprint)


def _values(*names: str) -> dict[str, str]:
    query = sa.select(Setting.name, Setting.value).where(Setting.name.in_(names))
    return {row.name: row.value for row in db.session.execute(query)}


def _set(name: str, value: str) -> None:
    """:param value: empty for the default."""
    db.session.execute(sa.delete(Setting).where(Setting.name == name))
    if value:
        db.session.execute(sa.insert(Setting).values(name=name, value=value))
