"""Whether the site has an owner. Until it has, nobody can register."""

import sqlalchemy as sa

from microblog.database import db
from microblog.models.site import CLAIMED, Setting
from microblog.models.user import User


def is_new() -> bool:
    """Whether nobody has claimed the site, and nobody has made an account on the command line."""
    if db.session.get(Setting, CLAIMED) is not None:
        return False
    return db.session.execute(sa.select(User.id).limit(1)).first() is None


def take() -> None:
    """Claim the site; the caller commits.

    :raises sqlalchemy.exc.IntegrityError: somebody else was faster.
    """
    db.session.execute(sa.insert(Setting).values(name=CLAIMED, value="yes"))
