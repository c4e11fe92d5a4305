"""invitations; accounts that wait to be let in"""

import sqlalchemy as sa
from alembic import op

from microblog import missing

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
# The version before serves on what this makes, too.
expands = True

TABLE_OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    if missing.column("users", "waiting"):
        op.add_column(
            "users", sa.Column("waiting", sa.Boolean(), nullable=False, server_default=sa.text("0"))
        )
    if missing.table("invitations"):
        op.create_table(
            "invitations",
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("note", sa.String(60), nullable=False),
            sa.Column("uses_left", sa.Integer(), nullable=False),
            sa.Column("used", sa.Integer(), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.Column("expires_at", sa.DateTime(), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
            sa.UniqueConstraint("digest", name=op.f("uq_invitations_digest")),
            **TABLE_OPTIONS,
        )


def downgrade() -> None:
    if not missing.table("invitations"):
        op.drop_table("invitations")
    if not missing.column("users", "waiting"):
        with op.batch_alter_table("users") as batch:
            batch.drop_column("waiting")
