"""conversations, notifications, messages, moderation, programs"""

import sqlalchemy as sa
from alembic import op

from microblog import missing

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
# The version before serves on what this makes, too.
expands = True

TABLE_OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    if missing.table("api_clients"):
        op.create_table(
            "api_clients",
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("client_id", sa.String(64), nullable=False),
            sa.Column("secret_digest", sa.String(64), nullable=False),
            sa.Column("name", sa.String(100), nullable=False),
            sa.Column("website", sa.String(255), server_default="", nullable=False),
            sa.Column("redirect_uris", sa.String(2000), nullable=False),
            sa.Column("scopes", sa.String(255), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_api_clients")),
            sa.UniqueConstraint("client_id", name=op.f("uq_api_clients_client_id")),
            sqlite_autoincrement=True,
            **TABLE_OPTIONS,
        )
    if missing.index("api_clients", "ix_api_clients_created_at"):
        op.create_index(op.f("ix_api_clients_created_at"), "api_clients", ["created_at"])
    if missing.table("moderation_acts"):
        op.create_table(
            "moderation_acts",
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("moderator", sa.String(32), nullable=False),
            sa.Column("act", sa.String(32), nullable=False),
            sa.Column("subject", sa.String(32), server_default="", nullable=False),
            sa.Column("post_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
            sa.Column("note", sa.String(500), server_default="", nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_moderation_acts")),
            sqlite_autoincrement=True,
            **TABLE_OPTIONS,
        )
    if missing.table("tags"):
        op.create_table(
            "tags",
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("name", sa.String(64), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
            sa.UniqueConstraint("name", name=op.f("uq_tags_name")),
            **TABLE_OPTIONS,
        )
    if missing.table("api_grants"):
        op.create_table(
            "api_grants",
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("client_id", sa.Integer(), nullable=False),
            sa.Column("user_id", sa.Integer(), nullable=False),
            sa.Column("redirect_uri", sa.String(2000), nullable=False),
            sa.Column("scopes", sa.String(255), nullable=False),
            sa.Column("challenge", sa.String(128), server_default="", nullable=False),
            sa.Column("expires_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["client_id"], ["api_clients.id"], name=op.f("fk_api_grants_client_id"), ondelete="CASCADE"
            ),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_api_grants_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("digest", name=op.f("pk_api_grants")),
            **TABLE_OPTIONS,
        )
    if missing.index("api_grants", "ix_api_grants_client_id"):
        op.create_index(op.f("ix_api_grants_client_id"), "api_grants", ["client_id"])
    if missing.index("api_grants", "ix_api_grants_expires_at"):
        op.create_index(op.f("ix_api_grants_expires_at"), "api_grants", ["expires_at"])
    if missing.index("api_grants", "ix_api_grants_user_id"):
        op.create_index(op.f("ix_api_grants_user_id"), "api_grants", ["user_id"])
    if missing.table("api_tokens"):
        op.create_table(
            "api_tokens",
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("user_id", sa.Integer(), nullable=True),
            sa.Column("client_id", sa.Integer(), nullable=True),
            sa.Column("scopes", sa.String(255), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.Column("last_used_at", sa.DateTime(), nullable=True),
            sa.Column("expires_at", sa.DateTime(), nullable=True),
            sa.ForeignKeyConstraint(
                ["client_id"], ["api_clients.id"], name=op.f("fk_api_tokens_client_id"), ondelete="CASCADE"
            ),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_api_tokens_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
            sa.UniqueConstraint("digest", name=op.f("uq_api_tokens_digest")),
            sqlite_autoincrement=True,
            **TABLE_OPTIONS,
        )
    if missing.index("api_tokens", "ix_api_tokens_client_id"):
        op.create_index(op.f("ix_api_tokens_client_id"), "api_tokens", ["client_id"])
    if missing.index("api_tokens", "ix_api_tokens_expires_at"):
        op.create_index(op.f("ix_api_tokens_expires_at"), "api_tokens", ["expires_at"])
    if missing.index("api_tokens", "ix_api_tokens_user_id"):
        op.create_index(op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"])
    if missing.table("barriers"):
        op.create_table(
            "barriers",
            sa.Column("reader_id", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("author_id", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("blocks", sa.Boolean(), server_default=sa.text("0"), nullable=False),
            sa.Column("is_blocked", sa.Boolean(), server_default=sa.text("0"), nullable=False),
            sa.Column("mutes", sa.Boolean(), server_default=sa.text("0"), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["author_id"], ["users.id"], name=op.f("fk_barriers_author_id"), ondelete="CASCADE"
            ),
            sa.ForeignKeyConstraint(
                ["reader_id"], ["users.id"], name=op.f("fk_barriers_reader_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("reader_id", "author_id", name=op.f("pk_barriers")),
            **TABLE_OPTIONS,
        )
    if missing.index("barriers", "ix_barriers_author_id"):
        op.create_index(op.f("ix_barriers_author_id"), "barriers", ["author_id"])
    if missing.table("conversations"):
        op.create_table(
            "conversations",
            sa.Column("id", BIG_ID, nullable=False),
            sa.Column("low_id", sa.Integer(), nullable=False),
            sa.Column("high_id", sa.Integer(), nullable=False),
            sa.ForeignKeyConstraint(
                ["high_id"], ["users.id"], name=op.f("fk_conversations_high_id"), ondelete="CASCADE"
            ),
            sa.ForeignKeyConstraint(
                ["low_id"], ["users.id"], name=op.f("fk_conversations_low_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
            sa.UniqueConstraint("low_id", "high_id", name=op.f("uq_conversations_low_id_high_id")),
            **TABLE_OPTIONS,
        )
    if missing.index("conversations", "ix_conversations_high_id"):
        op.create_index(op.f("ix_conversations_high_id"), "conversations", ["high_id"])
    if missing.table("markers"):
        op.create_table(
            "markers",
            sa.Column("user_id", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("timeline", sa.String(16), nullable=False),
            sa.Column("last_read_id", sa.BigInteger(), nullable=False),
            sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
            sa.Column("updated_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_markers_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("user_id", "timeline", name=op.f("pk_markers")),
            **TABLE_OPTIONS,
        )
    if missing.table("notifications"):
        op.create_table(
            "notifications",
            sa.Column("id", BIG_ID, nullable=False),
            sa.Column("user_id", sa.Integer(), nullable=False),
            sa.Column("kind", sa.String(16), nullable=False),
            sa.Column("actor_id", sa.Integer(), nullable=False),
            sa.Column("post_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["actor_id"], ["users.id"], name=op.f("fk_notifications_actor_id"), ondelete="CASCADE"
            ),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_notifications_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
            sa.UniqueConstraint(
                "user_id",
                "kind",
                "actor_id",
                "post_id",
                name=op.f("uq_notifications_user_id_kind_actor_id_post_id"),
            ),
            **TABLE_OPTIONS,
        )
    if missing.index("notifications", "ix_notifications_actor_id"):
        op.create_index(op.f("ix_notifications_actor_id"), "notifications", ["actor_id"])
    if missing.index("notifications", "ix_notifications_created_at"):
        op.create_index(op.f("ix_notifications_created_at"), "notifications", ["created_at"])
    if missing.index("notifications", "ix_notifications_post_id"):
        op.create_index(op.f("ix_notifications_post_id"), "notifications", ["post_id"])
    if missing.index("notifications", "ix_notifications_user_id_id"):
        op.create_index(op.f("ix_notifications_user_id_id"), "notifications", ["user_id", "id"])
    if missing.table("preferences"):
        op.create_table(
            "preferences",
            sa.Column("user_id", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("silent", sa.String(255), server_default="", nullable=False),
            sa.Column("by_mail", sa.Boolean(), server_default=sa.text("0"), nullable=False),
            sa.Column("read_to", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
            sa.Column("mailed_to", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
            sa.Column("mailed_at", sa.DateTime(), nullable=True),
            sa.Column("messages_from_all", sa.Boolean(), server_default=sa.text("0"), nullable=False),
            sa.Column("hides_last_seen", sa.Boolean(), server_default=sa.text("0"), nullable=False),
            sa.Column("members_only", sa.Boolean(), server_default=sa.text("0"), nullable=False),
            sa.Column("gravatar", sa.Boolean(), server_default=sa.text("0"), nullable=False),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_preferences_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("user_id", name=op.f("pk_preferences")),
            **TABLE_OPTIONS,
        )
    if missing.index("preferences", "ix_preferences_by_mail_mailed_at"):
        op.create_index(op.f("ix_preferences_by_mail_mailed_at"), "preferences", ["by_mail", "mailed_at"])
    if missing.table("reports"):
        op.create_table(
            "reports",
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("reporter_id", sa.Integer(), nullable=True),
            sa.Column("subject_id", sa.Integer(), nullable=False),
            sa.Column("post_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
            sa.Column("body", sa.String(140), server_default="", nullable=False),
            sa.Column("comment", sa.String(500), server_default="", nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.Column("closed_at", sa.DateTime(), nullable=True),
            sa.Column("closed_by_id", sa.Integer(), nullable=True),
            sa.ForeignKeyConstraint(
                ["closed_by_id"], ["users.id"], name=op.f("fk_reports_closed_by_id"), ondelete="SET NULL"
            ),
            sa.ForeignKeyConstraint(
                ["reporter_id"], ["users.id"], name=op.f("fk_reports_reporter_id"), ondelete="SET NULL"
            ),
            sa.ForeignKeyConstraint(
                ["subject_id"], ["users.id"], name=op.f("fk_reports_subject_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
            sqlite_autoincrement=True,
            **TABLE_OPTIONS,
        )
    if missing.index("reports", "ix_reports_closed_at_id"):
        op.create_index(op.f("ix_reports_closed_at_id"), "reports", ["closed_at", "id"])
    if missing.index("reports", "ix_reports_closed_by_id"):
        op.create_index(op.f("ix_reports_closed_by_id"), "reports", ["closed_by_id"])
    if missing.index("reports", "ix_reports_reporter_id"):
        op.create_index(op.f("ix_reports_reporter_id"), "reports", ["reporter_id"])
    if missing.index("reports", "ix_reports_subject_id"):
        op.create_index(op.f("ix_reports_subject_id"), "reports", ["subject_id"])
    if missing.table("bookmarks"):
        op.create_table(
            "bookmarks",
            sa.Column("id", BIG_ID, nullable=False),
            sa.Column("user_id", sa.Integer(), nullable=False),
            sa.Column("post_id", BIG_ID, nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["post_id"], ["posts.id"], name=op.f("fk_bookmarks_post_id"), ondelete="CASCADE"
            ),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_bookmarks_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_bookmarks")),
            sa.UniqueConstraint("post_id", "user_id", name=op.f("uq_bookmarks_post_id_user_id")),
            **TABLE_OPTIONS,
        )
    if missing.index("bookmarks", "ix_bookmarks_user_id_id"):
        op.create_index(op.f("ix_bookmarks_user_id_id"), "bookmarks", ["user_id", "id"])
    if missing.table("conversation_sides"):
        op.create_table(
            "conversation_sides",
            sa.Column("conversation_id", BIG_ID, autoincrement=False, nullable=False),
            sa.Column("user_id", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("last_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
            sa.Column("read_to", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
            sa.Column("gone_to", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
            sa.Column("unread", sa.Integer(), server_default=sa.text("0"), nullable=False),
            sa.ForeignKeyConstraint(
                ["conversation_id"],
                ["conversations.id"],
                name=op.f("fk_conversation_sides_conversation_id"),
                ondelete="CASCADE",
            ),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_conversation_sides_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("conversation_id", "user_id", name=op.f("pk_conversation_sides")),
            **TABLE_OPTIONS,
        )
    if missing.index("conversation_sides", "ix_conversation_sides_user_id_last_id"):
        op.create_index(
            op.f("ix_conversation_sides_user_id_last_id"), "conversation_sides", ["user_id", "last_id"]
        )
    if missing.index("conversation_sides", "ix_conversation_sides_user_id_unread"):
        op.create_index(
            op.f("ix_conversation_sides_user_id_unread"), "conversation_sides", ["user_id", "unread"]
        )
    if missing.table("liked_posts"):
        op.create_table(
            "liked_posts",
            sa.Column("id", BIG_ID, nullable=False),
            sa.Column("user_id", sa.Integer(), nullable=False),
            sa.Column("post_id", BIG_ID, nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["post_id"], ["posts.id"], name=op.f("fk_liked_posts_post_id"), ondelete="CASCADE"
            ),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_liked_posts_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_liked_posts")),
            sa.UniqueConstraint("post_id", "user_id", name=op.f("uq_liked_posts_post_id_user_id")),
            **TABLE_OPTIONS,
        )
    if missing.index("liked_posts", "ix_liked_posts_post_id_id"):
        op.create_index(op.f("ix_liked_posts_post_id_id"), "liked_posts", ["post_id", "id"])
    if missing.index("liked_posts", "ix_liked_posts_user_id_id"):
        op.create_index(op.f("ix_liked_posts_user_id_id"), "liked_posts", ["user_id", "id"])
    if missing.table("mentions"):
        op.create_table(
            "mentions",
            sa.Column("post_id", BIG_ID, autoincrement=False, nullable=False),
            sa.Column("user_id", sa.Integer(), autoincrement=False, nullable=False),
            sa.ForeignKeyConstraint(
                ["post_id"], ["posts.id"], name=op.f("fk_mentions_post_id"), ondelete="CASCADE"
            ),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_mentions_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("post_id", "user_id", name=op.f("pk_mentions")),
            **TABLE_OPTIONS,
        )
    if missing.index("mentions", "ix_mentions_user_id_post_id"):
        op.create_index(op.f("ix_mentions_user_id_post_id"), "mentions", ["user_id", "post_id"])
    if missing.table("messages"):
        op.create_table(
            "messages",
            sa.Column("id", BIG_ID, nullable=False),
            sa.Column("conversation_id", BIG_ID, nullable=False),
            sa.Column("sender_id", sa.Integer(), nullable=False),
            sa.Column("body", sa.String(140), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["conversation_id"],
                ["conversations.id"],
                name=op.f("fk_messages_conversation_id"),
                ondelete="CASCADE",
            ),
            sa.ForeignKeyConstraint(
                ["sender_id"], ["users.id"], name=op.f("fk_messages_sender_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
            sqlite_autoincrement=True,
            **TABLE_OPTIONS,
        )
    if missing.index("messages", "ix_messages_conversation_id_id"):
        op.create_index(op.f("ix_messages_conversation_id_id"), "messages", ["conversation_id", "id"])
    if missing.index("messages", "ix_messages_sender_id"):
        op.create_index(op.f("ix_messages_sender_id"), "messages", ["sender_id"])
    if missing.table("post_counts"):
        op.create_table(
            "post_counts",
            sa.Column("post_id", BIG_ID, autoincrement=False, nullable=False),
            sa.Column("replies", sa.Integer(), server_default=sa.text("0"), nullable=False),
            sa.Column("likes", sa.Integer(), server_default=sa.text("0"), nullable=False),
            sa.Column("reposts", sa.Integer(), server_default=sa.text("0"), nullable=False),
            sa.ForeignKeyConstraint(
                ["post_id"], ["posts.id"], name=op.f("fk_post_counts_post_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("post_id", name=op.f("pk_post_counts")),
            **TABLE_OPTIONS,
        )
    if missing.table("post_tags"):
        op.create_table(
            "post_tags",
            sa.Column("tag_id", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("post_id", BIG_ID, autoincrement=False, nullable=False),
            sa.ForeignKeyConstraint(
                ["post_id"], ["posts.id"], name=op.f("fk_post_tags_post_id"), ondelete="CASCADE"
            ),
            sa.ForeignKeyConstraint(
                ["tag_id"], ["tags.id"], name=op.f("fk_post_tags_tag_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("tag_id", "post_id", name=op.f("pk_post_tags")),
            **TABLE_OPTIONS,
        )
    if missing.index("post_tags", "ix_post_tags_post_id"):
        op.create_index(op.f("ix_post_tags_post_id"), "post_tags", ["post_id"])
    if missing.table("post_versions"):
        op.create_table(
            "post_versions",
            sa.Column("id", BIG_ID, nullable=False),
            sa.Column("post_id", BIG_ID, nullable=False),
            sa.Column("body", sa.String(140), nullable=False),
            sa.Column("language", sa.String(8), nullable=True),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["post_id"], ["posts.id"], name=op.f("fk_post_versions_post_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_post_versions")),
            **TABLE_OPTIONS,
        )
    if missing.index("post_versions", "ix_post_versions_post_id_id"):
        op.create_index(op.f("ix_post_versions_post_id_id"), "post_versions", ["post_id", "id"])
    if missing.column("posts", "reply_to_id"):
        op.add_column("posts", sa.Column("reply_to_id", sa.BigInteger(), nullable=True))
    if missing.column("posts", "thread_id"):
        op.add_column("posts", sa.Column("thread_id", sa.BigInteger(), nullable=True))
    if missing.column("posts", "repost_of_id"):
        op.add_column("posts", sa.Column("repost_of_id", sa.BigInteger(), nullable=True))
    if missing.column("posts", "edited_at"):
        op.add_column("posts", sa.Column("edited_at", sa.DateTime(), nullable=True))
    if missing.index("posts", "ix_posts_reply_to_id_id"):
        op.create_index(op.f("ix_posts_reply_to_id_id"), "posts", ["reply_to_id", "id"])
    if missing.index("posts", "ix_posts_repost_of_id_author_id"):
        op.create_index(
            op.f("ix_posts_repost_of_id_author_id"), "posts", ["repost_of_id", "author_id"], unique=True
        )
    if missing.index("posts", "ix_posts_thread_id_id"):
        op.create_index(op.f("ix_posts_thread_id_id"), "posts", ["thread_id", "id"])
    if missing.column("users", "is_moderator"):
        op.add_column(
            "users", sa.Column("is_moderator", sa.Boolean(), server_default=sa.text("0"), nullable=False)
        )
    if missing.column("users", "has_barriers"):
        op.add_column(
            "users", sa.Column("has_barriers", sa.Boolean(), server_default=sa.text("0"), nullable=False)
        )


# Those that refer to others first.
_TABLES = (
    *(
        "post_versions",
        "post_tags",
        "post_counts",
        "messages",
        "mentions",
        "liked_posts",
        "conversation_sides",
    ),
    *("bookmarks", "reports", "preferences", "notifications", "markers", "conversations", "barriers"),
    *("api_tokens", "api_grants", "tags", "moderation_acts", "api_clients"),
)
_INDEXES = ("ix_posts_reply_to_id_id", "ix_posts_repost_of_id_author_id", "ix_posts_thread_id_id")
_COLUMNS = {
    "posts": ("reply_to_id", "thread_id", "repost_of_id", "edited_at"),
    "users": ("is_moderator", "has_barriers"),
}


def downgrade() -> None:
    for table in _TABLES:
        if not missing.table(table):
            op.drop_table(table)
    if not missing.column("posts", "repost_of_id"):
        # The version before would show posts without a word.
        reposts = "(SELECT id FROM posts WHERE repost_of_id IS NOT NULL)"
        op.execute(f"DELETE FROM latest_posts WHERE post_id IN {reposts}")  # noqa: S608 - a constant
        op.execute("DELETE FROM posts WHERE repost_of_id IS NOT NULL")
    for name in _INDEXES:
        if not missing.index("posts", name):
            op.drop_index(op.f(name), "posts")
    for table, columns in _COLUMNS.items():
        for name in columns:
            if not missing.column(table, name):
                op.drop_column(table, name)
