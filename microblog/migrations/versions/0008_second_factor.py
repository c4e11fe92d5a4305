"""a second factor, and its recovery codes"""

import sqlalchemy as sa
from alembic import op

from microblog import missing

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
# The version before serves on what this makes, too.
expands = True

TABLE_OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    if missing.table("second_factors"):
        op.create_table(
            "second_factors",
            sa.Column("user_id", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("seed", sa.String(64), nullable=False),
            sa.Column("last_step", sa.BigInteger(), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_second_factors_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("user_id", name=op.f("pk_second_factors")),
            **TABLE_OPTIONS,
        )
    if missing.table("recovery_codes"):
        op.create_table(
            "recovery_codes",
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("user_id", sa.Integer(), nullable=False),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_recovery_codes_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("digest", name=op.f("pk_recovery_codes")),
            **TABLE_OPTIONS,
        )
    if missing.index("recovery_codes", "ix_recovery_codes_user_id"):
        op.create_index(op.f("ix_recovery_codes_user_id"), "recovery_codes", ["user_id"])


def downgrade() -> None:
    for table in ("recovery_codes", "second_factors"):
        if not missing.table(table):
            op.drop_table(table)
