"""The Flask Mega-Tutorial's database, as its chapters make it, with people in it."""

# By its migrations, e517276bb1c2 to 834b1a697901; what a chapter does not have, its readers lack.
SCHEMA = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO alembic_version VALUES ('f7ac3d27bb1d');
CREATE TABLE user (id INTEGER NOT NULL PRIMARY KEY {auto}, username VARCHAR(64), email VARCHAR(120),
    password_hash VARCHAR(256), about_me VARCHAR(140), last_seen DATETIME, token VARCHAR(32));
CREATE UNIQUE INDEX ix_user_email ON user (email);
CREATE UNIQUE INDEX ix_user_username ON user (username);
CREATE TABLE post (id INTEGER NOT NULL PRIMARY KEY {auto}, body VARCHAR({body}), timestamp DATETIME,
    user_id INTEGER, language VARCHAR(5), FOREIGN KEY (user_id) REFERENCES user (id));
CREATE INDEX ix_post_timestamp ON post (timestamp);
CREATE TABLE followers (follower_id INTEGER, followed_id INTEGER,
    FOREIGN KEY (follower_id) REFERENCES user (id), FOREIGN KEY (followed_id) REFERENCES user (id));
CREATE TABLE message (id INTEGER NOT NULL PRIMARY KEY {auto}, sender_id INTEGER, recipient_id INTEGER,
    body VARCHAR(140), timestamp DATETIME);
INSERT INTO message VALUES (1, 1, 2, 'psst', '2019-01-01 00:00:00')
"""
PASSWORD = "cat dog horse"
# As the tutorial's Werkzeugs have hashed it over the years, newest last.
HASHES = (
    "pbkdf2:sha256:50000$FixRakDaBohqv8db$5a4260f7dbddc15c110d032480384b98ea23dd429be595a48700340386cf3e86",
    "scrypt:32768:8:1$DgrwHapEnwx6DarU$6343a172ca1cdeb05cc3559759deb6071e3dd59ce72bb862daa8c7fd"
    "8e88415048a6b524c05ec1305230e933b60f97c7b6b126544404f0a05d4fd90301ce81af",
)


def statements(mysql: bool, body: int = 140) -> list[str]:
    """What makes it, and people: susan (1), david (2), an account whose name has a space (3)."""
    text = SCHEMA.format(auto="AUTO_INCREMENT" if mysql else "", body=body)
    made = [line.strip() for line in text.split(";")]
    users = (
        (1, "susan", "Susan@example.org", HASHES[0], "I like\r\ncats", "2020-05-06 07:08:09"),
        (2, "david", "david@example.org", HASHES[1], None, None),
        (3, "john doe", "john@example.org", HASHES[0], "", "2019-02-03 04:05:06"),
    )
    posts = (
        (1, "Beautiful day in Portland!", "2018-08-01 10:11:12", 1, "en"),
        (2, "Ein schöner Tag, @david", "2018-08-02 10:11:12", 1, "de"),
        (5, "The Avengers movie was so cool!", "2018-08-03 10:11:12", 2, ""),
        (6, "not signed in as myself", "2018-08-04 10:11:12", 3, "en"),
    )
    for row in users:
        made.append(_insert("user (id, username, email, password_hash, about_me, last_seen)", row))
    made += [_insert("post", row) for row in posts]
    # The table has no key: what was clicked twice at once is there twice.
    made += [_insert("followers", row) for row in ((1, 2), (1, 2), (2, 1), (3, 3), (2, 3))]
    return made


def _insert(table: str, row: tuple[object, ...]) -> str:
    def literal(value: object) -> str:
        return "NULL" if value is None else str(value) if isinstance(value, int) else f"'{value}'"

    return f"INSERT INTO {table} VALUES ({', '.join(map(literal, row))})"  # noqa: S608
