"""What an administrator sets in the browser, for all machines of the site."""

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field

REGISTRATION = "registration"


class Setting(db.Model):  # type: ignore[name-defined, misc]
    """A setting that is not at its default."""

    __tablename__ = "settings"
    __table_args__ = TABLE_OPTIONS

    name = field(sa.String(32), primary_key=True)
    value = field(sa.String(255), nullable=False)


def registration_open() -> bool:
    """Whether visitors may make accounts."""
    return db.session.get(Setting, REGISTRATION) is None


def set_registration(open_: bool) -> None:
    db.session.execute(sa.delete(Setting).where(Setting.name == REGISTRATION))
    if not open_:
        db.session.add(Setting(name=REGISTRATION, value="closed"))
