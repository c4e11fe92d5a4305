"""users and posts"""

import sqlalchemy as sa
from alembic import op

from microblog import missing

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLE_OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    if missing.table("users"):
        op.create_table(
            "users",
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("username", sa.String(32), nullable=False),
            sa.Column("name_key", sa.String(32), nullable=False),
            sa.Column("email", sa.String(254), nullable=False),
            sa.Column("password_hash", sa.String(255), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
            sa.UniqueConstraint("name_key", name=op.f("uq_users_name_key")),
            sa.UniqueConstraint("email", name=op.f("uq_users_email")),
            **TABLE_OPTIONS,
        )
    if missing.table("posts"):
        op.create_table(
            "posts",
            sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
            sa.Column("author_id", sa.Integer(), nullable=False),
            sa.Column("body", sa.String(140), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["author_id"], ["users.id"], name=op.f("fk_posts_author_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_posts")),
            **TABLE_OPTIONS,
        )
    if missing.index("posts", "ix_posts_author_id_id"):
        op.create_index(op.f("ix_posts_author_id_id"), "posts", ["author_id", "id"])


def downgrade() -> None:
    for table in ("posts", "users"):
        op.execute(f"DROP TABLE IF EXISTS {table}")
