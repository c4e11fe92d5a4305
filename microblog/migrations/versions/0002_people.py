"""profiles, follows, counts, search; the database checks names itself"""

import sqlalchemy as sa
from alembic import op

from microblog import missing

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLE_OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}

RESERVED = (
    *("abuse", "admin", "administrator", "anonymous", "everyone", "help", "hostmaster", "mailer_daemon"),
    *("me", "microblog", "moderator", "nobody", "noreply", "official", "postmaster", "root", "security"),
    *("staff", "support", "system", "webmaster"),
)

# The same rule in both dialects' own pattern languages.
USERNAME_FORMAT = {
    "sqlite": "username NOT GLOB '*[^A-Za-z0-9_]*'",
    "mysql": "username NOT REGEXP '[^A-Za-z0-9_]'",
}
# A search must not mind case, and MySQL's full-text index goes by its column's collation.
BODY_COLLATION = "utf8mb4_unicode_520_ci"
FULLTEXT = "ft_posts_body"


def _dialect() -> str:
    # MariaDB may give its own name.
    return "sqlite" if op.get_context().dialect.name == "sqlite" else "mysql"


def _number(name: str) -> sa.Column:
    return sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0"))


def _columns() -> "dict[str, list[sa.Column]]":
    return {
        "users": [
            sa.Column("about", sa.String(280), nullable=False, server_default=""),
            sa.Column("locale", sa.String(8), nullable=True),
            sa.Column("is_admin", sa.Boolean(), nullable=False, server_default=sa.text("0")),
            sa.Column("suspended_at", sa.DateTime(), nullable=True),
            sa.Column("last_seen", sa.DateTime(), nullable=True),
            _number("posts_count"),
            _number("followers_count"),
            _number("following_count"),
        ],
        "posts": [sa.Column("language", sa.String(8), nullable=True)],
    }


def _checks() -> "dict[str, dict[str, str]]":
    # substr counts characters everywhere; length counts bytes on MySQL.
    return {
        "users": {
            "username_length": "length(username) BETWEEN 3 AND 32",
            "username_format": USERNAME_FORMAT[_dialect()],
            "name_key_lower": "name_key = lower(username)",
            "name_key_reserved": "name_key NOT IN ({})".format(", ".join(f"'{name}'" for name in RESERVED)),
            "email_form": "instr(email, '@') > 1 AND email = lower(email) AND substr(email, 255) = ''",
            "about_length": "substr(about, 281) = ''",
        },
        "posts": {"body_length": "body <> '' AND substr(body, 141) = ''"},
    }


def upgrade() -> None:
    if missing.table("follows"):
        op.create_table(
            "follows",
            sa.Column("follower_id", sa.Integer(), nullable=False),
            sa.Column("followed_id", sa.Integer(), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["follower_id"], ["users.id"], name=op.f("fk_follows_follower_id"), ondelete="CASCADE"
            ),
            sa.ForeignKeyConstraint(
                ["followed_id"], ["users.id"], name=op.f("fk_follows_followed_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("follower_id", "followed_id", name=op.f("pk_follows")),
            **TABLE_OPTIONS,
        )
    if missing.index("follows", "ix_follows_followed_id_follower_id"):
        op.create_index(op.f("ix_follows_followed_id_follower_id"), "follows", ["followed_id", "follower_id"])
    for table, columns in _columns().items():
        checks = _checks()[table]
        # One copy of the table on SQLite, statement by statement elsewhere.
        with op.batch_alter_table(table) as batch:
            for column in columns:
                if missing.column(table, column.name):
                    batch.add_column(column)
            for name, condition in checks.items():
                if missing.check(table, f"ck_{table}_{name}"):
                    batch.create_check_constraint(op.f(f"ck_{table}_{name}"), sa.text(condition))
    # Right however often it is done.
    op.execute("UPDATE users SET posts_count = (SELECT count(*) FROM posts WHERE posts.author_id = users.id)")
    _sqlite_search() if _dialect() == "sqlite" else _mysql_search()


def _sqlite_search() -> None:
    # External content: the texts are not stored a second time
    # (https://www.sqlite.org/fts5.html#external_content_tables).
    op.execute(
        "CREATE VIRTUAL TABLE posts_fts USING fts5("
        "body, content='posts', content_rowid='id', tokenize='unicode61 remove_diacritics 2')"
    )
    gone = "INSERT INTO posts_fts (posts_fts, rowid, body) VALUES ('delete', old.id, old.body);"
    here = "INSERT INTO posts_fts (rowid, body) VALUES (new.id, new.body);"
    op.execute(f"CREATE TRIGGER posts_fts_insert AFTER INSERT ON posts BEGIN {here} END")
    op.execute(f"CREATE TRIGGER posts_fts_delete AFTER DELETE ON posts BEGIN {gone} END")
    op.execute(f"CREATE TRIGGER posts_fts_update AFTER UPDATE OF body ON posts BEGIN {gone} {here} END")
    op.execute("INSERT INTO posts_fts (posts_fts) VALUES ('rebuild')")


def _mysql_search() -> None:
    if missing.index("posts", FULLTEXT):
        column = f"body VARCHAR(140) CHARACTER SET utf8mb4 COLLATE {BODY_COLLATION} NOT NULL"
        op.execute(f"ALTER TABLE posts MODIFY {column}")
        # An index keeps what was set when it was made: here, that "the" and "www" are words too.
        op.execute("SET SESSION innodb_ft_enable_stopword = OFF")
        op.execute(f"CREATE FULLTEXT INDEX {FULLTEXT} ON posts (body)")


def downgrade() -> None:
    if _dialect() == "sqlite":
        for name in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER IF EXISTS posts_fts_{name}")
        op.execute("DROP TABLE IF EXISTS posts_fts")
    elif not missing.index("posts", FULLTEXT):
        op.execute(f"DROP INDEX {FULLTEXT} ON posts")
    for table, columns in _columns().items():
        with op.batch_alter_table(table) as batch:
            for name in _checks()[table]:
                if not missing.check(table, f"ck_{table}_{name}"):
                    batch.drop_constraint(op.f(f"ck_{table}_{name}"), type_="check")
            for column in columns:
                if not missing.column(table, column.name):
                    batch.drop_column(column.name)
    if not missing.table("follows"):
        op.drop_table("follows")
