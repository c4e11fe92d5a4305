"""The application's machines: here, processes of each, and nginx before it where it is one of a fleet's."""

import http.client
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from galera import DATABASE, Node, wait_until
from network import Place
from people import PASSWORD, connect
from told import Told, swapped
from whole import whole

from builder.core.command import program
from builder.core.paths import ROOT
from builder.core.ports import free_port
from microblog.config import Config
from microblog.host.site import nginx

# In a machine's folder.
_SETTINGS = "microblog.env"
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
    prepare_at(node.url(database), names, root)


def prepare_at(url: str, names: Sequence[str], root: Path = ROOT) -> None:
    """As :func:`prepare`, in the database that is there."""
    script = f"""
import sys
from flask_migrate import upgrade
from microblog import create_app
from microblog.database import db
from microblog.models import User, passwords
passwords.METHOD = "pbkdf2:sha256:1"
with create_app().app_context():
    upgrade()
    for name in sys.argv[1:]:
        db.session.add(User(name, f"{{name}}@example.org", {PASSWORD!r}))
    db.session.commit()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *names], env=environment(url, root), cwd=root, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"no schema, or no accounts:\n{done.stderr[-4000:]}")


def migrate(url: str, root: Path) -> None:
    """Bring the schema to a version's. :raises subprocess.CalledProcessError: that fails."""
    command = [sys.executable, "-m", "flask", "db", "upgrade"]
    subprocess.run(command, env=environment(url, root), cwd=root, check=True, capture_output=True)


def broken(folder: Path, path: str, right: str, wrong: str) -> Path:
    """The application with a fault, to see what notices. :return: its root."""
    return changed(folder, (path, right, wrong))


def changed(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """The application, otherwise. :param changes: a file, what is there, and what is to be. :return: its
    root.
    """
    shutil.copytree(ROOT / "microblog", folder / "microblog")
    shutil.copyfile(ROOT / "setup.cfg", folder / "setup.cfg")
    for path, right, wrong in changes:
        text = (folder / path).read_text()
        assert right in text, (path, right)
        (folder / path).write_text(text.replace(right, wrong))
    return folder


class Machine:
    """One that serves, or is to.

    :ivar url: its database's.
    :ivar told: of its fleet: it has that certificate and those settings, and nginx before it, with the
        package's site; else who asks it speaks with the application itself, without TLS.
    """

    def __init__(
        self, folder: Path, url: str, root: Path = ROOT, told: "Told | None" = None, **settings: str
    ) -> None:
        self.told, self.place = told, told.place if told else Place()
        self.port, self.url, self.root = 443 if self.place.alone else free_port(), url, root
        self.log = folder / f"machine-{self.address}.log"
        self.settings = settings
        # What its processes see beside what this one does.
        self.environ: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.front: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{self.place.address}:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "--config", "python:microblog.gunicorn_config"]
        environ = {**environment(self.url, self.root), "BIND": self.address}
        if self.told:
            # Its settings are in its file, but that here its database may be on another port.
            own = {"MICROBLOG_ENV_FILE": str(self.told.folder / _SETTINGS), "BIND": f"unix:{self._socket}"}
            environ = {**environ, **own, "TMPDIR": str(self.disk)}
            del environ["SECRET_KEY"]
        else:
            environ = {**environ, "WEB_CONCURRENCY": "1", "WEB_THREADS": "8"}
        with self.log.open("ab") as log:
            with whole():
                self.process = subprocess.Popen(
                    self.place.command([*command, "microblog:create_app()"]),
                    env={**environ, **self.settings, **self.environ},
                    cwd=self.root, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            if self.told and not _runs(self.front):
                command = [program("nginx", "nginx"), "-c", str(self._site(self.told))]
                with whole():
                    self.front = subprocess.Popen(
                        self.place.command(command), stdout=log, stderr=log, start_new_session=True
                    )
        wait_until("a machine is ready", lambda: self.is_ready() or self._has_ended())

    def _has_ended(self) -> bool:
        if not all(_runs(process) for process in (self.front, self.process) if process is not None):
            raise AssertionError(f"it has ended:\n{self.log.read_text(errors='replace')[-4000:]}")
        return False

    @property
    def disk(self) -> Path:
        """Where its programs write: logs, and what a visitor sends."""
        assert self.told
        return self.told.folder / "run"

    @property
    def _socket(self) -> Path:
        path = self.disk / "socket/gunicorn.sock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _site(self, told: Told) -> Path:
        """Write nginx's settings: the package's site, with what ``microblog setup`` adds to it."""
        run = self.disk
        site = swapped(
            (ROOT / "debian/nginx/microblog").read_text(),
            {
                "/run/microblog": str(run),
                "/etc/microblog/tls": str(told.folder / "tls"),
                "/var/log/nginx": str(run),
                "/usr/share/microblog": str(ROOT / "debian/nginx"),
            },
        )
        (run / "nginx-tls.conf").write_text(f"listen {self.address} ssl;\n")
        (run / "nginx-real.conf").write_text(nginx._real(Config.load(told.folder / _SETTINGS, {})))
        (run / "site").write_text(site)
        temporary = "".join(
            f"{what}_temp_path {run / what};\n"
            for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # Not another user than who may read these folders.
        user = "user root;\n" if os.geteuid() == 0 else ""
        (run / "nginx.conf").write_text(
            f"{user}daemon off;\npid {run / 'nginx.pid'};\nerror_log {run / 'nginx.log'};\n"
            f"events {{ worker_connections 768; }}\nhttp {{\n{temporary}include {run / 'site'};\n}}\n"
        )
        return run / "nginx.conf"

    def is_ready(self) -> bool:
        connection = connect(self.address, 5, self.told.authority if self.told else None)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def signal(self, number: int) -> None:
        """Freeze or thaw it."""
        for process in (self.front, self.process):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, number)

    def stop(self) -> None:
        """In order; it takes its time. nginx goes on, as on a machine."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def read_again(self, told: "Told") -> None:
        """Told anew, it does as ``microblog setup``: nginx reads its settings again; the application, whose
        own are newer than it, ends in order and begins."""
        self.told = told
        self._site(told)
        assert self.front
        self.front.send_signal(signal.SIGHUP)
        self.stop()
        self.start()

    def shut_down(self) -> None:
        """As a machine that is switched off: the application ends in order, then what is before it."""
        self.stop()
        assert self.front
        self.front.send_signal(signal.SIGQUIT)
        self.front.wait()

    def kill(self) -> None:
        """As if the power had gone."""
        self.signal(signal.SIGKILL)
        for process in (self.front, self.process):
            if process is not None:
                process.wait()


def _runs(process: "subprocess.Popen[bytes] | None") -> bool:
    return process is not None and process.poll() is None


def posts(node: Node, database: str = DATABASE, but_for: str = "") -> list[str]:
    """All that were written, by what a node has. :param but_for: those that begin so are left out."""
    # One that was frozen catches up first, for longer than the statement waits for it.
    wait_until(f"node {node.number} answers", lambda: node.answers(database))
    some = f" WHERE body NOT LIKE '{but_for}%'" if but_for else ""
    return [str(row[0]) for row in node.ask(f"SELECT body FROM {database}.posts{some}")]  # noqa: S608
