"""The site as visitors meet it: gunicorn on the loopback, with SQLite, and a mailbox beside it."""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from email import message_from_bytes
from email.policy import default as policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import flask_migrate
import requests
import sqlalchemy as sa
from aiosmtpd.controller import Controller

import microblog
from builder.core.ports import free_port
from microblog import create_app
from microblog.config import Config
from microblog.database import db, utc_now
from microblog.models import User, applications, barriers, messages, moderation, passwords, reports
from microblog.models.follow import follow
from microblog.models.post import Post, add_post, delete_post, find_post
from microblog.models.reactions import bookmark, like, repost
from microblog.models.site import set_public
from microblog.models.versions import edit_post
from microblog.web.mastodon.oauth import OUT_OF_BAND
from microblog.web.notifications import digest

PASSWORD = "correct horse battery"
# A minute's patience with a slow machine: what is waited for comes much sooner.
PATIENCE = 60


class Mailbox:
    """Keeps what is sent to it over SMTP."""

    def __init__(self):
        self.messages = []
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port())
        self._controller.start()
        self.port = self._controller.port

    async def handle_DATA(self, _server, _session, envelope):
        self.messages.append(message_from_bytes(envelope.content, policy=policy))
        return "250 OK"

    def letter(self, to):
        """The latest letter to an address, when there is one."""
        return wait(lambda: next((m for m in reversed(self.messages) if m["To"] == to), None))

    def link(self, to):
        """The path of the link in it."""
        return re.search(r"https?://[^/\s]+(/\S+)", self.letter(to).get_content())[1]

    def close(self):
        self._controller.stop()


class Translator:
    """Translates into capital letters; what begins with an exclamation mark it cannot."""

    def __init__(self):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                (item,) = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(503 if item["Text"].startswith("!") else 200)
                self.end_headers()
                answer = [{"translations": [{"text": item["Text"].upper(), "to": "en"}]}]
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/translate"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Site:
    """A running site.

    :param settings: others than a site in use has.
    :ivar url: where it is, without a slash at the end.
    :ivar agent: the folder of the machine's agent.
    """

    def __init__(self, folder, **settings):
        self.mailbox = Mailbox()
        self.translator = Translator()
        # A socket's path may have 107 bytes.
        self._short = tempfile.TemporaryDirectory(prefix="m")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{Path(microblog.__file__).parent.parent}:{Path(__file__).parent}",
            "MICROBLOG_ENV_FILE": str(folder / "none.env"),
            "SECRET_KEY": "a key for tests, of 32 characters or more",
            "DATABASE_URL": f"sqlite:///{folder / 'site.db'}",
            "BIND": f"127.0.0.1:{port}",
            "WEB_CONCURRENCY": "2",
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": str(self.mailbox.port),
            "HOST_NAMES": f"127.0.0.1:{port}",
            "MS_TRANSLATOR_KEY": "0123456789abcdef",
            "TRANSLATOR_URL": self.translator.url,
            "AGENT": self._short.name,
            **settings,
        }
        self.agent = Path(self._short.name)
        self._agent = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("live_agent.py"), self.agent], env=self.environment
        )
        self.app = create_app(Config.load(environ=self.environment))
        with self.app.app_context():
            flask_migrate.upgrade()
        self.log = folder / "gunicorn.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gunicorn", "-c", "python:microblog.gunicorn_config"),
                    "live_app:create_app()",
                ],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        wait(self._answers)
        wait((self.agent / "socket").exists)

    def _answers(self):
        assert self._process.poll() is None, self.log.read_text()
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/healthz", timeout=5).ok

    def user(self, name, about="", **fields):
        """Make an account."""
        with self.app.app_context(), quick_password():
            user = User(name, f"{name.lower()}@example.org", PASSWORD)
            user.about = about
            for field, value in fields.items():
                setattr(user, field, value)
            db.session.add(user)
            db.session.commit()

    def post(self, name, body, reply_to=None, language=None, minutes_ago=0):
        """Write a post, or an answer to one. :return: its number."""
        with self.app.app_context():
            answered = find_post(reply_to) if reply_to else None
            post = add_post(User.find(name), body, language, answered)
            db.session.execute(
                sa.update(Post)
                .where(Post.id == post.id)
                .values(created_at=utc_now() - timedelta(minutes=minutes_ago))
            )
            db.session.commit()
            return post.id

    def delete(self, number):
        with self.app.app_context():
            delete_post(find_post(number))
            db.session.commit()

    def change(self, name, gone, edited, liked):
        """Delete a post; edit one; like, keep and pass on one."""
        with self.app.app_context():
            user = User.find(name)
            delete_post(find_post(gone))
            edit_post(user, find_post(edited), "as it should be")
            for act in (like, bookmark, repost):
                act(user, find_post(liked))
            db.session.commit()

    def follow(self, name, *others):
        with self.app.app_context():
            for other in others:
                follow(User.find(name), User.find(other))
            db.session.commit()

    def message(self, name, to, body):
        """Let somebody write to somebody who follows them, and whom they follow."""
        with self.app.app_context():
            assert messages.send(User.find(name), User.find(to).id, body, body)
            db.session.commit()

    def keep_away(self, name, blocked, muted):
        with self.app.app_context():
            barriers.block(User.find(name), User.find(blocked))
            barriers.mute(User.find(name), User.find(muted))
            db.session.commit()

    def report(self, name, subject, comment, post=None):
        """Let somebody report somebody, or a post of theirs, and a moderator write something down."""
        with self.app.app_context():
            found = find_post(post) if post else None
            reports.report(User.find(name), User.find(subject), comment, found)
            moderation.note(User.find(subject), "suspend", name, 0, comment)
            db.session.commit()

    def close_reports(self, name):
        with self.app.app_context():
            for number in db.session.execute(sa.select(reports.Report.id)).scalars().all():
                reports.close(number, User.find(name))
            db.session.commit()

    def program(self, called, *users):
        """A program that acts for these, who also have a token of their own. :return: its name of its own."""
        with self.app.app_context():
            client, _secret = applications.register(called, [OUT_OF_BAND], "read write follow")
            for user in users:
                for number, scopes in ((client.id, "read write follow"), (None, "read")):
                    applications.issue(User.find(user).id, number, scopes)
            db.session.commit()
            return client.client_id

    def ends_mails(self, name):
        """What the link in somebody's mails has at its end."""
        with self.app.app_context():
            user = User.find(name)
            return digest._token(user.id, user.created_at.isoformat())

    def open_to_all(self):
        """Let everybody read, without an account."""
        with self.app.app_context():
            set_public(True)
            db.session.commit()

    @staticmethod
    def now():
        return utc_now()

    def empty(self):
        """Forget everything."""
        with self.app.app_context():
            for table in reversed(db.metadata.sorted_tables):
                db.session.execute(table.delete())
            db.session.commit()
        self.mailbox.messages.clear()

    def close(self):
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._agent.terminate()
        self._agent.wait(PATIENCE)
        self._short.cleanup()
        self.mailbox.close()
        self.translator.close()


def login(page, user, password=PASSWORD):
    page.goto("/login")
    page.fill("#username", user)
    page.fill("#password", password)
    page.click("main form [type=submit]")
    page.wait_for_selector("details.top-user")
    # Pointing at nothing: names open cards.
    page.mouse.move(0, 0)


@contextlib.contextmanager
def quick_password():
    """One round of hashing instead of hundreds of thousands."""
    method = passwords.METHOD
    passwords.METHOD = "pbkdf2:sha256:1"
    try:
        yield
    finally:
        passwords.METHOD = method


def wait(find):
    """What ``find`` gives, once it gives something."""
    end = time.monotonic() + PATIENCE
    while not (found := find()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)
    return found
