"""passkeys"""

import sqlalchemy as sa
from alembic import op

from microblog import missing

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
# The version before serves on what this makes, too.
expands = True

TABLE_OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    if missing.table("passkeys"):
        op.create_table(
            "passkeys",
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("user_id", sa.Integer(), nullable=False),
            sa.Column("host", sa.String(253), nullable=False),
            sa.Column("name", sa.String(40), nullable=False),
            sa.Column("credential", sa.String(1400), nullable=False),
            sa.Column("public_key", sa.String(1400), nullable=False),
            sa.Column("counter", sa.BigInteger(), nullable=False),
            sa.Column("asked_ms", sa.BigInteger(), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.Column("used_at", sa.DateTime(), nullable=True),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_passkeys_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("digest", name=op.f("pk_passkeys")),
            **TABLE_OPTIONS,
        )
    if missing.index("passkeys", "ix_passkeys_user_id"):
        op.create_index(op.f("ix_passkeys_user_id"), "passkeys", ["user_id"])


def downgrade() -> None:
    if not missing.table("passkeys"):
        op.drop_table("passkeys")
