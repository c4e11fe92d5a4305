"""who wrote last; what is yet to be done to large accounts"""

import sqlalchemy as sa
from alembic import context, op

from microblog import missing

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

    Each is one statement: a post that is written meanwhile, by a version that knows nothing of this table,
    is found by a sweep (microblog.models.latest).
    """
    bounds = sa.text("SELECT id FROM users WHERE id > :last ORDER BY id LIMIT :limit")
    fill = sa.text(
        "INSERT INTO latest_posts (author_id, post_id)"
        " SELECT author_id, MAX(id) FROM posts WHERE author_id > :last AND author_id <= :end"
        " AND author_id NOT IN (SELECT id FROM users WHERE id > :last AND id <= :end"
        " AND suspended_at IS NOT NULL) GROUP BY author_id"
    )
    last = bind.execute(sa.text("SELECT MAX(author_id) FROM latest_posts")).scalar() or 0
    while found := bind.execute(bounds, {"last": last, "limit": _CHUNK}).fetchall():
        end = found[-1][0]
        bind.execute(fill, {"last": last, "end": end})
        last = end
        if bind.dialect.name != "sqlite":
            # Who writes meanwhile waits for one step, not for all of them.
            bind.exec_driver_sql("COMMIT")


def downgrade() -> None:
    for table in ("unfinished", "latest_posts"):
        if not missing.table(table):
            op.drop_table(table)
