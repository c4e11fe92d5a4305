"""What is in a site: written and read through its own models, or as a visitor."""

import hashlib
import re
import shutil
import subprocess
from email.utils import formatdate
from pathlib import Path
from types import TracebackType

from nspawn import Machine

ENV = "/etc/microblog/microblog.env"
BACKUPS = "/var/backups/microblog"
SQLITE = "sqlite:////var/lib/microblog/microblog.db"
# All that setup has made.
FORGET = """
supervisorctl stop microblog
rm -rf /etc/microblog/microblog.env /etc/microblog/tls /etc/supervisor/conf.d/microblog.conf
microblog setup --leave
rm -rf /etc/microblog/ledger
mariadb -e "DROP DATABASE IF EXISTS microblog; DROP USER IF EXISTS microblog@localhost"
"""
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
TABLES = """
import sqlalchemy as sa
from microblog import create_app
from microblog.database import db

with create_app().app_context():
    print(sorted(sa.inspect(db.engine).get_table_names()))
"""
# Writes posts as a visitor does, and prints each that the site has acknowledged.
WRITE = """
import re, ssl, sys, time
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPSHandler, Request, build_opener

context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
opener = build_opener(HTTPCookieProcessor(CookieJar()), HTTPSHandler(context=context))


def submit(path, **fields):
    page = opener.open("https://localhost" + path, timeout=60).read().decode()
    fields["csrf_token"] = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)[1]
    headers = {"Referer": "https://localhost" + path}
    request = Request("https://localhost" + path, urlencode(fields).encode(), headers)
    return opener.open(request, timeout=60).read().decode()


logged_in, number = False, 0
while True:
    try:
        if not logged_in:
            logged_in = "logout" in submit("/login", username="writer", password="correct horse writer")
            continue
        text = f"{sys.argv[1]} {number}"
        if text in submit("/", body=text):
            print(text, flush=True)
            number += 1
    except (OSError, TypeError):
        # In maintenance, or another page in the form's place.
        time.sleep(0.05)
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


def posts(machine: Machine, in_backups: bool = False) -> set[str]:
    """The posts of ``writer``: those on the site, or in the backups that restores have made."""
    if in_backups:
        read = (
            f"for file in {BACKUPS}/*-restore.tar.gz; do tar xzOf $file --wildcards 'database/posts/*'; done"
        )
        text = machine.run("sh", "-c", read, check=False)
    else:
        text = look(machine)
    return set(re.findall(r"\b(?:writer|round\d+) \d+\b", text))


class Writer:
    """Somebody who writes one post after the other, until the machine is gone."""

    def __init__(self, machine: Machine, name: str) -> None:
        path = machine.console.with_name(f"{name}.posts")
        self.path = path
        with path.open("wb") as output:
            self.process = subprocess.Popen(
                ["nsenter", f"--target={machine.leader}", "--all", "python3", "-c", WRITE, name],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def lines(self) -> list[str]:
        """The posts that the site has acknowledged."""
        text = self.path.read_text(errors="replace")
        assert "Traceback" not in text, text
        return text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: "BaseException | None",
        traceback: "TracebackType | None",
    ) -> None:
        self.process.kill()
        self.process.wait()


def tables(machine: Machine) -> str:
    return python(machine, TABLES)


def in_maintenance(machine: Machine) -> bool:
    page = machine.get("https://localhost/")
    return page.status == 503 and "maintenance" in page.body


def switch_to(machine: Machine, url: str) -> None:
    machine.run("sed", "-i", f"s|^DATABASE_URL=.*|DATABASE_URL={url}|", ENV)
    machine.run("supervisorctl", "stop", "microblog")
    machine.run("microblog", "setup")


def offer(machine: Machine, *debs: Path) -> None:
    """Have these be what apt finds: a repository of them, and no other."""
    folder = machine.root / "srv/apt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    entries = []
    for deb in debs:
        shutil.copyfile(deb, folder / deb.name)
        fields = subprocess.run(
            ["dpkg-deb", "--field", deb], capture_output=True, text=True, check=True
        ).stdout
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        entries.append(f"{fields}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n")
    (folder / "Packages").write_text("\n".join(entries))
    data = (folder / "Packages").read_bytes()
    (folder / "Release").write_text(
        "Origin: Microblog\nLabel: Microblog\nSuite: stable\nCodename: stable\n"
        f"Date: {formatdate(usegmt=True)}\n"
        f"SHA256:\n {hashlib.sha256(data).hexdigest()} {len(data)} Packages\n"
    )
    machine.run("sh", "-c", "rm -f /etc/apt/sources.list.d/* /etc/apt/sources.list")
    (machine.root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/apt ./\n")
