"""who wrote last; what is yet to be done to large accounts"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.exc import DBAPIError

from microblog import missing
from microblog.database import is_conflict

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
# The version before serves on what this makes, too.
expands = True

TABLE_OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
_INDEX = "ix_latest_posts_post_id"
# Accounts at a time.
_CHUNK = 500
_TRIES = 10


def upgrade() -> None:
    if missing.table("latest_posts"):
        op.create_table(
            "latest_posts",
            sa.Column("author_id", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("post_id", sa.BigInteger(), nullable=False),
            sa.ForeignKeyConstraint(
                ["author_id"], ["users.id"], name=op.f("fk_latest_posts_author_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("author_id", name=op.f("pk_latest_posts")),
            **TABLE_OPTIONS,
        )
    if missing.index("latest_posts", _INDEX):
        op.create_index(op.f(_INDEX), "latest_posts", ["post_id"])
    if missing.table("unfinished"):
        op.create_table(
            "unfinished",
            sa.Column("user_id", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("task", sa.String(16), nullable=False),
            sa.Column("done_to", sa.BigInteger(), nullable=False),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_unfinished_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("user_id", name=op.f("pk_unfinished")),
            **TABLE_OPTIONS,
        )
    if not context.is_offline_mode():
        _fill(op.get_bind())


def _fill(bind: sa.engine.Connection) -> None:
    """Some accounts at a time, from where a migration that was cut short had come to.

    Read first, and then written: INSERT ... SELECT locks what it reads, and the version before, which writes
    meanwhile, would meet deadlocks. What it writes since then is found by a sweep (microblog.models.latest).
    """
    bounds = sa.text("SELECT id FROM users WHERE id > :last ORDER BY id LIMIT :limit")
    read = sa.text(
        "SELECT author_id, MAX(id) AS post_id FROM posts WHERE author_id > :last AND author_id <= :end"
        " AND author_id NOT IN (SELECT id FROM users WHERE id > :last AND id <= :end"
        " AND suspended_at IS NOT NULL) GROUP BY author_id ORDER BY author_id"
    )
    last = bind.execute(sa.text("SELECT MAX(author_id) FROM latest_posts")).scalar() or 0
    while found := bind.execute(bounds, {"last": last, "limit": _CHUNK}).fetchall():
        end = found[-1][0]
        rows = bind.execute(read, {"last": last, "end": end}).fetchall()
        _write(bind, [{"author_id": author_id, "post_id": post_id} for author_id, post_id in rows])
        last = end


def _write(bind: sa.engine.Connection, rows: list[dict[str, int]]) -> None:
    sqlite = bind.dialect.name == "sqlite"
    # Who is gone since they were read is left out.
    ignore = "OR IGNORE" if sqlite else "IGNORE"
    insert = sa.text(f"INSERT {ignore} INTO latest_posts (author_id, post_id) VALUES (:author_id, :post_id)")  # noqa: S608
    for left in reversed(range(_TRIES)):
        try:
            if rows:
                bind.execute(insert, rows)
            if not sqlite:
                # Who writes meanwhile waits for one step, not for all of them.
                bind.exec_driver_sql("COMMIT")
        except DBAPIError as error:
            # Rows are locked in the order of accounts, as by most. An account that is suspended is not.
            if not left or not is_conflict(error):
                raise
        else:
            return


def _end_what_began() -> None:
    """The version before would keep for ever what is half gone, and could not let in who is half let in."""
    theirs = "author_id IN (SELECT user_id FROM unfinished)"
    op.execute(
        "INSERT INTO search_changes (post_id, created_at) SELECT posts.id, users.suspended_at"  # noqa: S608
        f" FROM posts JOIN users ON users.id = posts.author_id WHERE {theirs} AND suspended_at IS NOT NULL"
        " AND EXISTS (SELECT id FROM search_index)"
    )
    op.execute(f"DELETE FROM public_posts WHERE post_id IN (SELECT id FROM posts WHERE {theirs})")  # noqa: S608
    gone = "(SELECT user_id FROM unfinished WHERE task = 'delete')"
    # Of each table by name: while SQLite migrates, nothing goes by itself.
    for table, column in (
        *(("posts", "author_id"), ("follows", "follower_id"), ("follows", "followed_id")),
        *(("sessions", "user_id"), ("tokens", "user_id"), ("latest_posts", "author_id"), ("users", "id")),
    ):
        op.execute(f"DELETE FROM {table} WHERE {column} IN {gone}")  # noqa: S608 - constants


def downgrade() -> None:
    if not missing.table("unfinished"):
        _end_what_began()
    for table in ("unfinished", "latest_posts"):
        if not missing.table(table):
            op.drop_table(table)
