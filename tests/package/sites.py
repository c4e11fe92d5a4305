"""What is in a site: written and read through its own models."""

from nspawn import Machine

ENV = "/etc/microblog/microblog.env"
BACKUPS = "/var/backups/microblog"
# Accounts and posts through the models, so that it holds for any schema.
FILL = """
import sys
from microblog import create_app
from microblog.database import db
from microblog.models import User
from microblog.models.post import add_post

name, posts = sys.argv[1], int(sys.argv[2])
with create_app().app_context():
    user = User(name, name + "@example.com", "correct horse " + name)
    db.session.add(user)
    db.session.commit()
    for number in range(posts):
        add_post(user, f"{name} {number} \\u00fc \\U0001f600 \\u2028 '\\\\")
    db.session.commit()
"""
# Every row that can be read, in an order of its own, and whether search finds one.
LOOK = """
from microblog import create_app
from microblog.database import db
from microblog.models import Post, User
from microblog.models.search import search_page

with create_app().app_context():
    for kind in (User, Post):
        for row in db.session.query(kind).order_by(kind.id):
            print([str(getattr(row, column.name)) for column in kind.__table__.columns])
    print(len(search_page("alice").posts))
"""


def python(machine: Machine, code: str, *arguments: str) -> str:
    """What a program says that runs as the application's user, with the application at hand."""
    return machine.run(
        *("runuser", "-u", "microblog", "--", "env", "-C", "/", "python3", "-", *arguments), stdin=code
    )


def fill(machine: Machine, name: str, posts: int) -> None:
    """Add an account and posts of its own."""
    python(machine, FILL, name, str(posts))


def look(machine: Machine) -> str:
    """All that people have written."""
    return python(machine, LOOK)


def switch_to(machine: Machine, url: str) -> None:
    machine.run("sed", "-i", f"s|^DATABASE_URL=.*|DATABASE_URL={url}|", ENV)
    machine.run("supervisorctl", "stop", "microblog")
    machine.run("microblog", "setup")
