"""Programs that act for somebody: applications, codes, and tokens.

Of secrets, digests alone are kept: whoever reads the tables, or a backup of them, is nobody.
"""

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, utc_now

NAME_MAX = 100
URI_MAX = 2000
SCOPES_MAX = 255


class Client(db.Model):  # type: ignore[name-defined, misc]
    """A program that has registered itself (RFC 7591 calls it a client)."""

    __tablename__ = "api_clients"

    id = field(sa.Integer, primary_key=True)
    client_id = field(sa.String(64), nullable=False, unique=True)
    secret_digest = field(sa.String(64), nullable=False)
    name = field(sa.String(NAME_MAX), nullable=False)
    website = field(sa.String(255), nullable=False, default="", server_default="")
    # With newlines between.
    redirect_uris = field(sa.String(URI_MAX), nullable=False)
    scopes = field(sa.String(SCOPES_MAX), nullable=False)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    __table_args__ = (sa.Index(None, created_at), {"sqlite_autoincrement": True, **TABLE_OPTIONS})


class Grant(db.Model):  # type: ignore[name-defined, misc]
    """An authorization code: somebody has said yes, and the program has not yet fetched its token."""

    __tablename__ = "api_grants"

    digest = field(sa.String(64), primary_key=True)
    client_id = field(sa.Integer, sa.ForeignKey("api_clients.id", ondelete="CASCADE"), nullable=False)
    user_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    redirect_uri = field(sa.String(URI_MAX), nullable=False)
    scopes = field(sa.String(SCOPES_MAX), nullable=False)
    # Of PKCE (RFC 7636), by S256; empty: none was given.
    challenge = field(sa.String(128), nullable=False, default="", server_default="")
    expires_at = field(sa.DateTime, nullable=False)

    __table_args__ = (
        sa.Index(None, client_id),
        sa.Index(None, user_id),
        sa.Index(None, expires_at),
        TABLE_OPTIONS,
    )


class AccessToken(db.Model):  # type: ignore[name-defined, misc]
    """What a program shows instead of a password."""

    __tablename__ = "api_tokens"

    id = field(sa.Integer, primary_key=True)
    digest = field(sa.String(64), nullable=False, unique=True)
    # None: the program itself, that acts for nobody.
    user_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"))
    # None: made by its owner, of /api/tokens.
    client_id = field(sa.Integer, sa.ForeignKey("api_clients.id", ondelete="CASCADE"))
    scopes = field(sa.String(SCOPES_MAX), nullable=False)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)
    last_used_at = field(sa.DateTime)
    expires_at = field(sa.DateTime)

    __table_args__ = (
        sa.Index(None, user_id),
        sa.Index(None, client_id),
        sa.Index(None, expires_at),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )
