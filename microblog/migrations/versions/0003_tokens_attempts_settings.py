"""tokens, attempts, settings"""

import sqlalchemy as sa
from alembic import op

from microblog import missing

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLE_OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    if missing.table("tokens"):
        op.create_table(
            "tokens",
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("user_id", sa.Integer(), nullable=False),
            sa.Column("purpose", sa.String(16), nullable=False),
            sa.Column("email", sa.String(254), nullable=True),
            sa.Column("bound_to", sa.String(64), nullable=False),
            sa.Column("expires_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_tokens_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("digest", name=op.f("pk_tokens")),
            **TABLE_OPTIONS,
        )
    if missing.index("tokens", "ix_tokens_user_id"):
        op.create_index(op.f("ix_tokens_user_id"), "tokens", ["user_id"])
    if missing.index("tokens", "ix_tokens_expires_at"):
        op.create_index(op.f("ix_tokens_expires_at"), "tokens", ["expires_at"])
    if missing.table("attempts"):
        op.create_table(
            "attempts",
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("made", sa.Integer(), nullable=False),
            sa.Column("expires_at", sa.DateTime(), nullable=False),
            sa.PrimaryKeyConstraint("digest", name=op.f("pk_attempts")),
            **TABLE_OPTIONS,
        )
    if missing.index("attempts", "ix_attempts_expires_at"):
        op.create_index(op.f("ix_attempts_expires_at"), "attempts", ["expires_at"])
    if missing.table("settings"):
        op.create_table(
            "settings",
            sa.Column("name", sa.String(32), nullable=False),
            sa.Column("value", sa.String(255), nullable=False),
            sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
            **TABLE_OPTIONS,
        )


def downgrade() -> None:
    for table in ("settings", "attempts", "tokens"):
        op.execute(f"DROP TABLE IF EXISTS {table}")
