"""Limits on attempts, counted in the database: all workers, and all machines, share them.

A window begins with a key's first attempt and ends by itself. Keys are digests made with the site's
secret key: the table tells nobody's name or address, not even to who tries all addresses there are.
"""

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from flask import current_app, g
from sqlalchemy.dialects import mysql, sqlite

from microblog import units
from microblog.database import TABLE_OPTIONS, db, field, shared_now, utc_now

# Rows that are removed in one statement.
_CHUNK = 500


class Attempts(db.Model):  # type: ignore[name-defined, misc]
    """How often something was tried since its window began."""

    __tablename__ = "attempts"

    digest = field(sa.String(64), primary_key=True)
    made = field(sa.Integer, nullable=False)
    expires_at = field(sa.DateTime, nullable=False)

    __table_args__ = (sa.Index(None, expires_at), TABLE_OPTIONS)


@dataclass(frozen=True)
class Limit:
    """At most ``most`` attempts in ``seconds``, of what ``name`` says."""

    name: str
    most: int
    seconds: int

    def key(self, *subject: object) -> "Key":
        """The limit for this account, this address ..., whatever their length."""
        text = "\0".join((self.name, *map(str, subject)))
        secret = current_app.config["SECRET_KEY"].encode()
        return Key(self, hmac.new(secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest())


@dataclass(frozen=True)
class Key:
    limit: Limit
    digest: str


def attempt(*keys: Key) -> int:
    """Count an attempt, before it is made: a hundred at once get no further than one by one.

    Committed by itself, whatever becomes of the request.

    :param keys: counted in this order up to the first whose limit is reached, so that one
        address cannot use up a limit that others share.
    :return: 0, or the seconds to wait.
    """
    counted: set[str] = g.setdefault("counted", set())
    for key in keys:
        # A request that is begun again is still the one attempt.
        if units.is_again() and key.digest in counted:
            continue
        counted.add(key.digest)
        if wait := units.run(partial(_count, key), twice=True):
            return wait
    return 0


def forgive(*keys: Key) -> None:
    """Take an attempt back that turned out to be right."""
    # Taken back twice, it would be more than was counted.
    units.run(partial(_forgive, keys))
    g.get("counted", set()).difference_update(key.digest for key in keys)


def _forgive(keys: tuple[Key, ...]) -> None:
    with db.engine.begin() as connection:
        for key in keys:
            connection.execute(
                sa.update(Attempts)
                .where(Attempts.digest == key.digest, Attempts.made > 0)
                .values(made=Attempts.made - 1)
            )


def address(text: str | None) -> str:
    """What stands for a visitor: an IPv4 address, or the /64 that one IPv6 customer has at least."""
    try:
        ip = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))


def _count(key: Key) -> int:
    now = utc_now()
    # One key a transaction: nobody waits for one row while holding another.
    with db.engine.begin() as connection:
        connection.execute(_upsert(connection.dialect.name, key, now))
        row = connection.execute(
            sa.select(Attempts.made, Attempts.expires_at).where(Attempts.digest == key.digest)
        ).one()
    g.setdefault("limits", []).append((key.limit.most, row.made, row.expires_at))
    if row.made <= key.limit.most:
        return 0
    return max(1, int((row.expires_at - now).total_seconds()))


def closest() -> tuple[int, int, datetime] | None:
    """Of the limits that this request has counted for, the one that is next to be reached: how many may be
    made, how many are left, and until when."""
    seen = [(most, max(0, most - made), until) for most, made, until in g.get("limits", ())]
    return min(seen, key=lambda limit: limit[1]) if seen else None


def _upsert(dialect: str, key: Key, now: datetime) -> Any:
    """One statement, so that no two attempts count as one."""
    expires = now + timedelta(seconds=key.limit.seconds)
    over = Attempts.expires_at <= now
    # In this order: MySQL's second assignment sees what the first has done.
    changes = [
        ("made", sa.case((over, 1), else_=Attempts.made + 1)),
        ("expires_at", sa.case((over, expires), else_=Attempts.expires_at)),
    ]
    values = {"digest": key.digest, "made": 1, "expires_at": expires}
    if dialect == "sqlite":
        statement = sqlite.insert(Attempts.__table__).values(values)
        return statement.on_conflict_do_update(index_elements=["digest"], set_=dict(changes))
    return mysql.insert(Attempts.__table__).values(values).on_duplicate_key_update(changes)


def sweep() -> None:
    """Remove what has expired. Whoever looks at the table later learns nothing of attempts long past."""
    now = shared_now()
    expired = sa.select(Attempts.digest).where(Attempts.expires_at <= now).limit(_CHUNK)
    while True:
        with db.engine.connect() as connection:
            digests = sorted(connection.execute(expired).scalars())
        if not digests:
            return
        # By their keys and in order: nobody who counts an attempt meanwhile waits in a circle.
        with db.engine.begin() as connection:
            connection.execute(
                sa.delete(Attempts).where(Attempts.digest.in_(digests), Attempts.expires_at <= now)
            )
