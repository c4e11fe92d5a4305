"""The site as visitors meet it: nginx with TLS and keep-alive before gunicorn, both as the package runs
them, and MICROBLOG_BENCH_READERS (1,000) people who are logged in, each by a connection and an address of
their own.

They read, search, write and follow with time to think between, as many requests a second together as
MICROBLOG_BENCH_RATES says (50,100,200,400), each rate for MICROBLOG_BENCH_SECONDS (20), while one author whom
all of them follow goes on posting. Beside it, the same on gunicorn as guides have it: four plain workers. A
small run: MICROBLOG_BENCH_READERS=20 MICROBLOG_BENCH_RATES=10 MICROBLOG_BENCH_SECONDS=3 ./build.py bench site
"""

import asyncio
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builder.core import paths
from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.needs import Program
from builder.core.ports import free_port
from builder.core.progress import say, step

sys.path += [str(paths.ROOT / "tests" / name) for name in ("", "bench")]
import app

NEEDS = (*app.NEEDS, Program("nginx", "nginx"), Program("openssl", "openssl"))

READERS = int(os.environ.get("MICROBLOG_BENCH_READERS", "1000"))
RATES = [int(rate) for rate in os.environ.get("MICROBLOG_BENCH_RATES", "50,100,200,400").split(",")]
SECONDS = int(os.environ.get("MICROBLOG_BENCH_SECONDS", "20"))
DATABASES = os.environ.get("MICROBLOG_BENCH_DATABASES", "mariadb,sqlite").split(",")
POSTS = int(os.environ.get("MICROBLOG_BENCH_POSTS", "10000"))
MIX = {"home": 66, "explore": 10, "profile": 8, "search": 5, "post": 5, "like": 4, "follow": 2}
AUTHOR = "author"
# The package's own settings; and what a guide for a deployment by hand says.
SERVERS = {
    "package": ["--config", "python:microblog.gunicorn_config"],
    "4 sync workers": ["--workers", "4", "--worker-class", "sync"],
}
_LOGS = ("nginx.log", "microblog.error.log")
# Seconds after which a visitor is gone.
_PATIENCE = 60
# An account may write 100 posts an hour.
_AUTHOR_MOST = 90
# As many people log in at once.
_AT_ONCE = 20
# As Debian's /etc/nginx/nginx.conf has it, but for its user, where it writes, and that it logs warnings.
_NGINX = """
daemon off;
user root;
worker_processes auto;
pid {work}/nginx.pid;
error_log {work}/nginx.log warn;
events {{ worker_connections 768; }}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    gzip on;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    {site}
}}
"""


def measure(python: str = app.PYTHON) -> dict[str, Any]:
    """Load each database, serve it both ways, and let the readers come.

    :param python: that runs gunicorn.
    :return: ``results``, one for each database, server and rate: requests a second that were offered and
        done, ``errors`` and ``why``, how many were ``turned_away`` for too many were waiting, by kind how
        many there were and their milliseconds (p50, p95, p99), and ``cpu_ms``, what a request took of a
        processor's time, by whom; ``servers``: of each, the memory of gunicorn and of nginx, shared pages
        counted once, after the last, and what nginx had to say.
    :raises BuildError: a program is missing, or a page is not what it should be.
    """
    results: list[dict[str, Any]] = []
    servers: list[dict[str, Any]] = []
    for name in DATABASES:
        for server, options in SERVERS.items():
            # Afresh for each: what the one's readers have written is not the other's.
            with app._database(name, POSTS) as url:
                _everybodys_author(url)
                with _serve(url, python, options) as (port, masters, work):
                    found = asyncio.run(
                        _visit(port, f"{name}, {server}", {**masters, **app.database_server()})
                    )
                    results += [{"db": name, "server": server, **one} for one in found]
                    memory = {part: round(app._pss(pid), 1) for part, pid in masters.items()}
                    servers.append({"db": name, "server": server, **memory, "said": _said(work)})
    return {"readers": READERS, "posts": POSTS, "results": results, "servers": servers}


def _said(work: Path) -> list[str]:
    """What nginx had to complain of, each once."""
    lines = [line for name in _LOGS for line in (work / name).read_text(errors="replace").splitlines()]
    return sorted({re.sub(r"^.*?: (\*\d+ )?|, client: .*|while .*", "", line) for line in lines})[:5]


def _everybodys_author(url: str) -> None:
    """One more account, which all others follow."""
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO users (username, name_key, email, password_hash, created_at, email_confirmed)"
            " SELECT 'author', 'author', 'author@example.org', password_hash, created_at, 1"
            " FROM users WHERE name_key = 'user0'",
            "INSERT INTO follows (follower_id, followed_id, created_at) SELECT f.id, a.id, f.created_at"
            " FROM users f, users a WHERE a.name_key = 'author' AND f.id <> a.id",
            "UPDATE users SET following_count = following_count + 1 WHERE name_key <> 'author'",
        ):
            connection.execute(sa.text(statement))
        followers = connection.execute(sa.text("SELECT count(*) FROM users")).scalar_one() - 1
        connection.execute(
            sa.text("UPDATE users SET followers_count = :count WHERE name_key = 'author'"),
            {"count": followers},
        )
    engine.dispose()


@contextmanager
def _serve(url: str, python: str, options: list[str]) -> Iterator[tuple[int, dict[str, int], Path]]:
    """nginx and gunicorn: the port, both masters' process ids, and the folder of their logs."""
    with tempfile.TemporaryDirectory(prefix="microblog-bench-") as scratch:
        work = Path(scratch)
        port = free_port()
        (work / "nginx.conf").write_text(_NGINX.format(work=work, site=_site(work, port)))
        _certificate(work)
        environment = {
            **app._environment(url),
            "BIND": f"unix:{work}/gunicorn.sock",
            "TRUSTED_PROXIES": "1",
            "HOST_NAMES": f"127.0.0.1:{port}",
        }
        bind = [] if "--config" in options else ["--bind", environment["BIND"]]
        commands = {
            "gunicorn": [python, "-m", "gunicorn", *options, *bind, "microblog:create_app()"],
            "nginx": [program("nginx", "nginx"), "-p", scratch, "-c", str(work / "nginx.conf")],
        }
        with (work / "log").open("w") as log:
            running = {
                name: subprocess.Popen(command, env=environment, stdout=log, stderr=log)
                for name, command in commands.items()
            }
            try:
                _wait(port, running, work)
                # What it said while gunicorn was not up yet.
                for name in _LOGS:
                    (work / name).write_text("")
                yield port, {name: process.pid for name, process in running.items()}, work
            finally:
                for process in running.values():
                    process.terminate()
                for process in running.values():
                    process.wait()


def _site(work: Path, port: int) -> str:
    """The package's site of nginx, in another place."""
    text = (paths.ROOT / "debian/nginx/microblog").read_text()
    for old, new in (
        ("    include /run/microblog/nginx-plain*.conf;\n", ""),
        ("include /run/microblog/nginx-tls*.conf;", f"listen 127.0.0.1:{port} ssl http2;"),
        ("/run/microblog/socket/gunicorn.sock", f"{work}/gunicorn.sock"),
        ("/run/microblog/", f"{work}/"),
        ("/etc/microblog/tls/", f"{work}/"),
        ("/var/log/nginx/microblog.error.log;", f"{work}/microblog.error.log warn;"),
        ("/var/log/nginx/", f"{work}/"),
        ("/usr/lib/python3/dist-packages/", f"{paths.ROOT}/"),
        ("/usr/share/microblog", f"{paths.ROOT}/debian/nginx"),
    ):
        if old not in text:
            raise BuildError(f"debian/nginx/microblog has no {old.strip()!r} any more", "tests/bench/site.py")
        text = text.replace(old, new)
    return text


def _certificate(work: Path) -> None:
    # As microblog.host.site.certificate makes it.
    command = [program("openssl", "openssl"), "req", "-x509", "-sha256", "-nodes", "-days", "2"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]
    command += ["-keyout", str(work / "key.pem"), "-out", str(work / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)


def _wait(port: int, running: dict[str, "subprocess.Popen[bytes]"], work: Path) -> None:
    """Until both are up."""
    context = _context()
    ends = time.monotonic() + 120
    while True:
        for name, process in running.items():
            if process.poll() is not None or time.monotonic() > ends:
                raise BuildError(f"{name} does not come up: {(work / 'log').read_text()[-1500:]}")
        try:
            with (
                socket.create_connection(("127.0.0.1", port), 5) as plain,
                context.wrap_socket(plain) as connection,
            ):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if connection.recv(20).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.2)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Busy(Exception):
    """The site said at once that too many are waiting."""


class Reader:
    """Somebody with a browser: one connection that is kept, and cookies."""

    def __init__(self, number: int, name: str, port: int, context: ssl.SSLContext) -> None:
        self.name, self.port, self.context = name, port, context
        # All of 127.0.0.0/8 is this machine: limits hold for each address by itself.
        self.address = f"127.1.{number // 250}.{number % 250 + 1}"
        self.dice = random.Random(number)  # noqa: S311 - chance, no secret
        self.cookies: dict[str, str] = {}
        self.token = ""
        # The buttons of the page that they saw last.
        self.likeable: list[str] = []
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def log_in(self) -> None:
        _, page, _ = await self.ask("GET", "/login")
        self.token = _token(page)
        form = {"username": self.name, "password": app.PASSWORD}
        status, _, _ = await self.ask("POST", "/login", form)
        _, page, _ = await self.ask("GET", "/")
        if status != 302 or b'action="/logout"' not in page:
            raise BuildError(f"{self.name} cannot log in: {status}")
        self.token = _token(page)

    async def do(self, kind: str) -> bool:
        """One thing of the mix: whether it went well."""
        other = f"user{self.dice.randrange(app.USERS)}"
        word = f"w{self.dice.randrange(1, 200):04}"
        pages = {
            "home": "/",
            "explore": "/explore",
            "profile": f"/user/{other}",
            "search": f"/search?q={word}",
        }
        if kind in pages:
            status, page, _ = await self.ask("GET", pages[kind])
            self._is_busy(status)
            if found := re.findall(rb'formaction="(/post/\d+/like)"', page):
                self.likeable = [path.decode() for path in found]
            return status == 200
        if kind == "like" and self.likeable:
            status, _, to = await self.ask("POST", self.dice.choice(self.likeable), {"next": "/"})
        elif kind in ("post", "like"):
            status, _, to = await self.ask("POST", "/", {"body": f"{word} by {self.name}"})
        else:
            status, _, to = await self.ask("POST", f"/user/{other}/follow", {})
        self._is_busy(status)
        return status == 302 and not to.startswith("/login")

    @staticmethod
    def _is_busy(status: int) -> None:
        if status == 503:
            raise Busy

    async def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, bytes, str]:
        """:return: the status, the body, and where it leads to."""
        body = b""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
        if self.cookies:
            head += f"Cookie: {'; '.join(f'{name}={value}' for name, value in self.cookies.items())}\r\n"
        if form is not None:
            body = urllib.parse.urlencode({"csrf_token": self.token, **form}).encode()
            head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        return await asyncio.wait_for(self._sent(head.encode() + b"\r\n" + body), _PATIENCE)

    async def _sent(self, data: bytes) -> tuple[int, bytes, str]:
        try:
            return await self._exchange(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            # The server may end a connection that was idle; a browser opens another one.
            self.close()
            return await self._exchange(data)

    async def _exchange(self, data: bytes) -> tuple[int, bytes, str]:
        if self._stream is None:
            self._stream = await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=self.context, local_addr=(self.address, 0)
            )
        reader, writer = self._stream
        writer.write(data)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = re.findall(r"^([\w-]+): (.*?)\r$", head, re.MULTILINE)
        headers = {name.lower(): value for name, value in fields}
        for name, value in fields:
            if name.lower() == "set-cookie":
                cookie, _, content = value.partition(";")[0].partition("=")
                self.cookies[cookie] = content
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        else:
            body = await _chunks(reader)
        if headers.get("connection") == "close":
            self.close()
        return int(head.split(" ", 2)[1]), body, headers.get("location", "")

    def close(self) -> None:
        if self._stream:
            self._stream[1].close()
            self._stream = None


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A body in chunks (RFC 9112, 7.1)."""
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


def _token(page: bytes) -> str:
    found = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', page)
    if found is None:
        raise BuildError("a page has no form")
    return found[1].decode()


async def _visit(port: int, what: str, parts: dict[str, int]) -> list[dict[str, Any]]:
    context = _context()
    readers = [Reader(number, f"user{number % app.USERS}", port, context) for number in range(READERS)]
    author = Reader(READERS, AUTHOR, port, context)
    with step(f"Logging {READERS} readers in ({what})", f"Logged {READERS} readers in ({what})") as now:
        await author.log_in()
        for first in range(0, READERS, _AT_ONCE):
            now.update(fraction=first / READERS)
            await asyncio.gather(*(reader.log_in() for reader in readers[first : first + _AT_ONCE]))
    found = []
    for rate in RATES:
        with step(
            f"Offering {rate} requests a second ({what})", f"Offered {rate} requests a second ({what})"
        ):
            figures = await _at(rate, readers, author, parts)
        found.append(figures)
        say(f"  {figures['rps']:.0f} a second, {figures['errors']} errors, {figures['all']}")
    for reader in (*readers, author):
        reader.close()
    await asyncio.sleep(0.1)
    return found


async def _at(rate: int, readers: list[Reader], author: Reader, parts: dict[str, int]) -> dict[str, Any]:
    """All readers at work, so that together they ask so often where the site keeps up."""
    took: dict[str, list[float]] = {kind: [] for kind in MIX}
    errors: list[str] = []
    busy: list[float] = []
    think = len(readers) / rate
    before = {"readers": time.process_time(), **{part: app.cpu(pid) for part, pid in parts.items()}}
    began = time.monotonic()
    # The first pause of each is part of what is measured: there are as many in it as later.
    ends = began + SECONDS

    async def at_work(reader: Reader) -> None:
        while True:
            pause = reader.dice.expovariate(1 / think)
            if time.monotonic() + pause > ends:
                return
            await asyncio.sleep(pause)
            (kind,) = reader.dice.choices(list(MIX), MIX.values())
            await _timed(reader, kind, took, errors, busy)

    async def writes() -> None:
        interval = max(1.0, SECONDS * len(RATES) / _AUTHOR_MOST)
        while time.monotonic() + interval < ends:
            await asyncio.sleep(interval)
            await _timed(author, "post", took, errors, busy)

    await asyncio.gather(writes(), *map(at_work, readers))
    seconds = max(time.monotonic(), ends) - began
    after = {"readers": time.process_time(), **{part: app.cpu(pid) for part, pid in parts.items()}}
    every = sorted(took for kind in took.values() for took in kind)
    return {
        "offered": rate,
        "rps": round(len(every) / seconds, 1),
        "errors": len(errors),
        "turned_away": {"count": len(busy), **_percentiles(sorted(busy))},
        "why": sorted(set(errors))[:5],
        "all": _percentiles(every),
        "cpu_ms": {
            part: round((after[part] - before[part]) * 1000 / max(len(every), 1), 2) for part in after
        },
        "kinds": {kind: {"count": len(times), **_percentiles(sorted(times))} for kind, times in took.items()},
    }


async def _timed(
    reader: Reader, kind: str, took: dict[str, list[float]], errors: list[str], busy: list[float]
) -> None:
    began = time.monotonic()
    try:
        if not await reader.do(kind):
            errors.append(f"{kind}: not as it should be")
    except Busy:
        busy.append(time.monotonic() - began)
        return
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
        reader.close()
        errors.append(f"{kind}: {type(error).__name__}")
    took[kind].append(time.monotonic() - began)


def _percentiles(times: list[float]) -> dict[str, float]:
    """In milliseconds. :param times: sorted, in seconds."""
    if not times:
        return {}
    return {
        f"p{percent}_ms": round(times[min(len(times) - 1, len(times) * percent // 100)] * 1000, 1)
        for percent in (50, 95, 99)
    }


def table(figures: dict[str, Any]) -> str:
    """The figures as people read them: rows of Markdown."""

    def cell(times: dict[str, float]) -> str:
        shown = [f"{times[name]:.0f}" for name in ("p50_ms", "p95_ms", "p99_ms") if name in times]
        return " / ".join(shown) or "-"

    parts = ("gunicorn", "database", "nginx", "readers")
    lines = [
        f"{figures['readers']:,} readers, {figures['posts']:,} posts; ms: p50 / p95 / p99",
        "",
        f"| database | gunicorn | offered | requests/s | errors | turned away | {' | '.join(MIX)} |",
        f"|---|---|--:|--:|--:|--:|{'--:|' * len(MIX)}",
    ]
    for row in figures["results"]:
        kinds = " | ".join(cell(row["kinds"][kind]) for kind in MIX)
        lines.append(
            f"| {row['db']} | {row['server']} | {row['offered']} | {row['rps']:.0f} | {row['errors']} |"
            f" {row['turned_away']['count']} | {kinds} |"
        )
    lines += [
        "",
        f"| database | gunicorn | offered | processor ms a request: {' | '.join(parts)} |",
        f"|---|---|--:|{'--:|' * len(parts)}",
    ]
    for row in figures["results"]:
        took = " | ".join(f"{row['cpu_ms'].get(part, 0):.1f}" for part in parts)
        lines.append(f"| {row['db']} | {row['server']} | {row['offered']} | {took} |")
    lines += [
        "",
        "| database | gunicorn | MB of gunicorn | MB of nginx | nginx said |",
        "|---|---|--:|--:|---|",
    ]
    lines += [
        f"| {row['db']} | {row['server']} | {row['gunicorn']:.0f} | {row['nginx']:.0f} |"
        f" {'; '.join(row['said']) or 'nothing'} |"
        for row in figures["servers"]
    ]
    return "\n".join(lines)
