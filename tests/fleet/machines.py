"""The application's machines: here, a process each."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from galera import DATABASE, Node, free_port, wait_until
from network import Place
from people import PASSWORD

from builder.core.paths import ROOT

SECRET_KEY = "a key for a fleet's tests, of 32 characters or more"


def environment(url: str, root: Path = ROOT) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(root),
        "FLASK_APP": "microblog",
        "SECRET_KEY": SECRET_KEY,
        "DATABASE_URL": url,
        "MICROBLOG_ENV_FILE": os.devnull,
    }


def prepare(node: Node, names: Sequence[str], root: Path = ROOT, database: str = DATABASE) -> None:
    """Make the schema, and accounts."""
    script = f"""
from flask_migrate import upgrade
from microblog import create_app
from microblog.database import db
from microblog.models import User, passwords
passwords.METHOD = "pbkdf2:sha256:1"
with create_app().app_context():
    upgrade()
    for name in {list(names)!r}:
        db.session.add(User(name, f"{{name}}@example.org", {PASSWORD!r}))
    db.session.commit()
"""
    subprocess.run(
        [sys.executable, "-c", script], env=environment(node.url(database), root), cwd=root, check=True,
        capture_output=True,
    )  # fmt: skip


def migrate(url: str, root: Path) -> None:
    """Bring the schema to a version's. :raises subprocess.CalledProcessError: that fails."""
    command = [sys.executable, "-m", "flask", "db", "upgrade"]
    subprocess.run(command, env=environment(url, root), cwd=root, check=True, capture_output=True)


def broken(folder: Path, path: str, right: str, wrong: str) -> Path:
    """The application with a fault, to see what notices. :return: its root."""
    return changed(folder, (path, right, wrong))


def changed(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """The application, otherwise. :param changes: a file, what is there once, and what is to be. :return: its
    root.
    """
    shutil.copytree(ROOT / "microblog", folder / "microblog")
    shutil.copyfile(ROOT / "setup.cfg", folder / "setup.cfg")
    for path, right, wrong in changes:
        text = (folder / path).read_text()
        assert text.count(right) == 1, (path, right)
        (folder / path).write_text(text.replace(right, wrong))
    return folder


class Machine:
    """One that serves, or is to.

    :ivar url: its database's.
    """

    def __init__(
        self, folder: Path, url: str, root: Path = ROOT, place: "Place | None" = None, **settings: str
    ) -> None:
        self.place = place or Place()
        self.port, self.url, self.root = 8000 if self.place.alone else free_port(), url, root
        self.log = folder / f"machine-{self.address}.log"
        self.settings = settings
        # What its processes see beside what this one does.
        self.environ: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{self.place.address}:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "--config", "python:microblog.gunicorn_config"]
        options = {"BIND": self.address, "WEB_CONCURRENCY": "1", "WEB_THREADS": "8", **self.settings}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.place.command([*command, "microblog:create_app()"]),
                env={**environment(self.url, self.root), **options, **self.environ},
                cwd=self.root, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until("a machine is ready", lambda: self.is_ready() or self._has_ended())

    def _has_ended(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"it has ended:\n{self.log.read_text(errors='replace')[-4000:]}")
        return False

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def signal(self, number: int) -> None:
        """Freeze or thaw it."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def stop(self) -> None:
        """In order; it takes its time."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def kill(self) -> None:
        """As if the power had gone."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()


def posts(node: Node, database: str = DATABASE, but_for: str = "") -> list[str]:
    """All that were written, by what a node has. :param but_for: those that begin so are left out."""
    # One that was frozen catches up first, for longer than the statement waits for it.
    wait_until(f"node {node.number} answers", lambda: node.answers(database))
    some = f" WHERE body NOT LIKE '{but_for}%'" if but_for else ""
    return [str(row[0]) for row in node.ask(f"SELECT body FROM {database}.posts{some}")]  # noqa: S608
