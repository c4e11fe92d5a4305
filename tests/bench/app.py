"""How fast the application answers, whatever has been written: gunicorn and the distribution's
Python and libraries, as the product runs them, and wrk.

1,000 accounts that follow 50 others each, one more that follows all of them, one that follows ten, one that
follows 5,000 who have each written once, long ago, and one whom 100,000 follow; and as many posts as
MICROBLOG_BENCH_POSTS says (10000,100000,1000000), all with one tag, of which one is liked by these 100,000
and answered 10,000 times, in a MariaDB with its own defaults and in SQLite (MICROBLOG_BENCH_DATABASES,
mariadb,sqlite). Of MICROBLOG_BENCH_ROUNDS (4) over all pages, with MICROBLOG_BENCH_SECONDS (3) for each,
the best counts: what else runs on a machine only makes it slower. It changes requests a second most, and
least the time of a processor that a request takes, of gunicorn, of the database and of wrk together.
"""

import http.cookiejar
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from builder.core import paths
from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.needs import Package
from builder.core.ports import free_port
from builder.core.progress import step

sys.path.insert(0, str(paths.ROOT / "tests"))
import database_servers

# The distribution's: one that is built otherwise may be half as fast again, or as slow.
PYTHON = "/usr/bin/python3"
# The application's libraries, as the package has them.
NEEDS = (
    Package("gunicorn"),
    Package("python3-dotenv"),
    Package("python3-flask"),
    Package("python3-flask-login"),
    Package("python3-flask-migrate"),
    Package("python3-flask-sqlalchemy"),
    Package("python3-flaskext.wtf"),
    Package("python3-langdetect"),
    Package("python3-pymysql"),
)
POSTS = [int(count) for count in os.environ.get("MICROBLOG_BENCH_POSTS", "10000,100000,1000000").split(",")]
DATABASES = os.environ.get("MICROBLOG_BENCH_DATABASES", "mariadb,sqlite").split(",")
SECONDS = int(os.environ.get("MICROBLOG_BENCH_SECONDS", "3"))
ROUNDS = int(os.environ.get("MICROBLOG_BENCH_ROUNDS", "4"))
# As many as the workers of two cores have threads.
CONNECTIONS = 16
READERS = {
    "ordinary": "user1",
    "of ten": "selective",
    "everybody": "omnivore",
    "of quiet people": "librarian",
    "followed by many": "star",
}
USERS = 1_000
FOLLOWED = 50
# They wrote the first of all posts.
QUIET = 5_000
FANS = 100_000
# When all that began, as the application writes it into SQLite: there it is a text, compared as such.
MOMENT = "2025-01-01 00:00:00.000000"
# The first post after theirs: all fans like it, and the next so many posts are its conversation.
FAMOUS = QUIET + 1
ANSWERS = 10_000
PASSWORD = "a password for the benchmark"
SECRET_KEY = "a secret key for the benchmark alone"
# What every request says: one that changes is another visitor.
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
# Words as a language has them: the n-th is 1/n as frequent as the first.
VOCABULARY = 20_000
# In one post of 140 or so; in one of 10,000 or so.
COMMON, RARE = "w0100", "w7000"
PAGES = {
    "home": ("/", READERS),
    "explore": ("/explore", ("ordinary",)),
    "profile": ("/user/user500", ("ordinary",)),
    "search": (f"/search?q={COMMON}", ("ordinary",)),
    "search, a rare word": (f"/search?q={RARE}", ("ordinary",)),
    "a famous post": (f"/post/{FAMOUS}", ("ordinary",)),
    "the midst of its conversation": (f"/post/{FAMOUS}?after={FAMOUS + ANSWERS // 2}", ("ordinary",)),
    "a tag of all posts": ("/tag/everything", ("ordinary",)),
    "log-in": ("/login", ("nobody",)),
}


def measure() -> dict[str, Any]:
    """Load, serve and measure each database at each size.

    :return: ``results``, a page each: requests a second, milliseconds, a processor's milliseconds for a
        request and which part of these the log-in page takes, queries; ``pss_mb``: memory of
        all of gunicorn's processes, shared pages counted once, after the largest size.
    :raises BuildError: a program is missing, or a page is not what it should be.
    """
    results: list[dict[str, Any]] = []
    memory: dict[str, float] = {}
    for name in DATABASES:
        for count in POSTS:
            with _database(name, count) as url:
                found, memory[name] = _serve(name, count, url)
                results += found
    return {"results": results, "pss_mb": memory}


@contextmanager
def _database(name: str, count: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="microblog-bench-") as scratch:
        if name == "sqlite":
            url = f"sqlite:///{scratch}/bench.db"
            with step(f"Loading {count} posts into {name}", f"Loaded {count} posts into {name}"):
                migrate(url)
                _load_sqlite(Path(scratch) / "bench.db", count)
            yield url
            return
        with getattr(database_servers, name)() as server:
            with step(f"Loading {count} posts into {name}", f"Loaded {count} posts into {name}"):
                url = server.create("bench")
                migrate(url)
                _load_mysql(server, count)
            yield url


def _environment(url: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(paths.ROOT),
        "FLASK_APP": "microblog",
        "MICROBLOG_ENV_FILE": os.devnull,
        "SECRET_KEY": SECRET_KEY,
        "DATABASE_URL": url,
    }


def migrate(url: str) -> None:
    """Make the tables of a database."""
    command = [sys.executable, "-m", "flask", "db", "upgrade"]
    done = subprocess.run(command, env=_environment(url), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"the migration failed: {done.stderr.strip().splitlines()[-1]}")


def _users() -> Iterator[tuple[Any, ...]]:
    from werkzeug.security import generate_password_hash

    password = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1")
    names = [f"user{number}" for number in range(USERS)]
    names += [name for reader, name in READERS.items() if reader != "ordinary"]
    names += [f"quiet{number}" for number in range(QUIET)] + [f"fan{number}" for number in range(FANS)]
    for number, name in enumerate(names, 1):
        yield number, name, name, f"{name}@example.org", password, MOMENT


def _follows() -> Iterator[tuple[int, int, str]]:
    for follower in range(1, USERS + 1):
        others = [number for number in range(1, USERS + 1) if number != follower]
        for followed in random.Random(follower).sample(others, FOLLOWED):  # noqa: S311
            yield follower, followed, MOMENT
    ten, everybody, librarian, star = range(USERS + 1, USERS + 5)
    quiet = range(star + 1, star + 1 + QUIET)
    users = range(1, USERS + 1)
    groups = {ten: users[:10], everybody: users, librarian: quiet, star: users[:FOLLOWED]}
    for follower, group in groups.items():
        for followed in group:
            yield follower, followed, MOMENT
    for follower in range(quiet[-1] + 1, quiet[-1] + 1 + FANS):
        yield follower, star, MOMENT


def _public_posts(count: int) -> Iterator[tuple[int, str]]:
    from microblog.models.words import stored

    for number, (_, body, _) in enumerate(_posts(count), 1):
        yield number, stored(body)


def _posts(count: int) -> Iterator[tuple[int, str, str]]:
    dice = random.Random(1)  # noqa: S311
    words = [f"w{number:04}" for number in range(1, VOCABULARY + 1)]
    weights = [1 / number for number in range(1, VOCABULARY + 1)]
    drawn = iter(())
    moment = datetime.now(timezone.utc).replace(microsecond=0, tzinfo=None) - timedelta(seconds=count)
    for number in range(count):
        body = []
        for _ in range(dice.randint(4, 20)):
            word = next(drawn, None)
            if word is None:
                drawn = iter(dice.choices(words, weights, k=100_000))
                word = next(drawn)
            body.append(word)
        author = USERS + len(READERS) + number if number < QUIET else dice.randint(1, USERS)
        yield author, " ".join(body)[:140], str(moment + timedelta(seconds=number))


# Of the counts that the application keeps.
_COUNTS = (
    "UPDATE users SET posts_count = (SELECT count(*) FROM posts WHERE author_id = users.id),"
    " following_count = (SELECT count(*) FROM follows WHERE follower_id = users.id),"
    " followers_count = (SELECT count(*) FROM follows WHERE followed_id = users.id)"
)
_LATEST = (
    "INSERT INTO latest_posts (author_id, post_id) SELECT author_id, MAX(id) FROM posts GROUP BY author_id"
)
_CONVERSATIONS = (
    "UPDATE posts SET reply_to_id = {0}, thread_id = {0} WHERE id > {0} AND id <= {1}",
    "INSERT INTO liked_posts (user_id, post_id, created_at) SELECT id, {0}, created_at FROM users"
    " WHERE username LIKE 'fan%'",
    "INSERT INTO post_counts (post_id, replies, likes, reposts) SELECT {0},"
    " (SELECT count(*) FROM posts WHERE reply_to_id = {0}), (SELECT count(*) FROM liked_posts), 0",
    "INSERT INTO tags (id, name) VALUES (1, 'everything')",
    "INSERT INTO post_tags (tag_id, post_id) SELECT 1, id FROM posts",
)
_TABLES = {
    "users": ("(id, username, name_key, email, password_hash, created_at)", lambda count: _users()),
    "follows": ("(follower_id, followed_id, created_at)", lambda count: _follows()),
    "posts": ("(author_id, body, created_at)", _posts),
    "public_posts": ("(post_id, words)", _public_posts),
}


def _load_sqlite(path: Path, count: int) -> None:
    import sqlite3

    connection = sqlite3.connect(path)
    # The index of searches at the end and at once, that takes a fraction of the time.
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for table, (columns, rows) in _TABLES.items():
        marks = ", ".join("?" * (columns.count(",") + 1))
        connection.executemany(f"INSERT INTO {table} {columns} VALUES ({marks})", rows(count))  # noqa: S608
    connection.execute("INSERT INTO public_posts_fts (public_posts_fts) VALUES ('rebuild')")
    for _, sql in triggers:
        connection.execute(sql)
    connection.execute(_COUNTS)
    connection.execute(_LATEST)
    for statement in _CONVERSATIONS:
        connection.execute(statement.format(FAMOUS, FAMOUS + ANSWERS))
    connection.commit()
    connection.execute("ANALYZE")
    connection.close()


def _load_mysql(server: "database_servers.Server", count: int) -> None:
    with server.connect("bench") as connection, connection.cursor() as cursor:
        # Made over at the end as the migration makes it, that takes a fraction of the time.
        cursor.execute("DROP INDEX ft_public_posts_words ON public_posts")
        for table, (columns, rows) in _TABLES.items():
            file = server.socket.with_name(f"{table}.txt")
            with file.open("w") as stream:
                stream.writelines("\t".join(map(str, row)) + "\n" for row in rows(count))
            cursor.execute(f"LOAD DATA INFILE '{file}' INTO TABLE {table} {columns}")
            file.unlink()
        # Else MariaDB's new index is empty.
        cursor.execute("ALTER TABLE public_posts FORCE")
        cursor.execute("SET SESSION innodb_ft_enable_stopword = OFF")
        cursor.execute("CREATE FULLTEXT INDEX ft_public_posts_words ON public_posts (words)")
        cursor.execute(_COUNTS)
        cursor.execute(_LATEST)
        for statement in _CONVERSATIONS:
            cursor.execute(statement.format(FAMOUS, FAMOUS + ANSWERS))
        connection.commit()
        cursor.execute(
            "ANALYZE TABLE users, follows, posts, public_posts, latest_posts, liked_posts, post_tags"
        )


def _serve(name: str, count: int, url: str) -> tuple[list[dict[str, Any]], float]:
    asked = [(page, path, reader) for page, (path, readers) in PAGES.items() for reader in readers]
    with gunicorn(url) as (base, master):
        cookies = {reader: _log_in(base, account) for reader, account in READERS.items()}
        cookies["nobody"] = ""
        rounds: list[list[dict[str, float]]] = []
        with step(f"Measuring {count} posts in {name}", f"Measured {count} posts in {name}"):
            for seconds in (1, *[SECONDS] * ROUNDS):
                rounds.append(
                    [_costs(base + path, cookies[reader], seconds, master) for _, path, reader in asked]
                )
        # The first only warms it up.
        best = [_best(figures) for figures in zip(*rounds[1:], strict=True)]
        # The log-in page is the last.
        for figures in best:
            figures["ratio"] = round(best[-1]["cpu_ms"] / figures["cpu_ms"], 2)
        results = [
            {"db": name, "posts": count, "page": page, "reader": reader, **figures,
             "queries": _queries(url, path, cookies[reader])}
            for (page, path, reader), figures in zip(asked, best, strict=True)
        ]  # fmt: skip
        results += [{"db": name, "posts": count, **one} for one in _acts(url)]
        return results, round(_pss(master), 1)


@contextmanager
def gunicorn(url: str, **settings: str) -> Iterator[tuple[str, int]]:
    """The application on this machine: its address, and its master's process id."""
    port = free_port()
    command = [PYTHON, "-m", "gunicorn", "--config", "python:microblog.gunicorn_config"]
    environment = {**_environment(url), "BIND": f"127.0.0.1:{port}", **settings}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "microblog:create_app()"], env=environment, stdout=log, stderr=log
        )
        try:
            base = f"http://127.0.0.1:{port}"
            ends = time.monotonic() + 60
            while not _answers(f"{base}/healthz"):
                if process.poll() is not None or time.monotonic() > ends:
                    log.seek(0)
                    raise BuildError(f"gunicorn does not come up: {log.read()[-2000:].decode()}")
                time.sleep(0.1)
            yield base, process.pid
        finally:
            process.terminate()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - on loopback
            return bool(response.status == 200)
    except OSError:
        return False


def _log_in(base: str, account: str) -> str:
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    opener.addheaders = [("User-Agent", BROWSER)]
    with opener.open(f"{base}/login") as response:
        token = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', response.read())
    assert token is not None
    form = {"username": account, "password": PASSWORD, "csrf_token": token[1].decode()}
    with opener.open(f"{base}/login", urllib.parse.urlencode(form).encode()) as response:
        if b'action="/logout"' not in response.read():
            raise BuildError(f"{account} cannot log in")
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)


def _costs(url: str, cookie: str, seconds: int, master: int) -> dict[str, float]:
    """What wrk says of a page, and the milliseconds of a processor's time that a request took."""
    pids = [master, *database_server().values()]
    before = sum(map(cpu, pids)), _spent()
    said = load(url, cookie, seconds)
    spent = sum(map(cpu, pids)) - before[0] + _spent() - before[1]
    return {**said, "cpu_ms": round(spent * 1000 / said.pop("requests"), 3)}


def _best(rounds: tuple[dict[str, float], ...]) -> dict[str, float]:
    return {
        **max(rounds, key=lambda one: one["rps"]),
        "cpu_ms": min(one["cpu_ms"] for one in rounds),
    }


def _spent() -> float:
    """Seconds of a processor's time of processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def database_server() -> dict[str, int]:
    """The process of the database's server, which is a child of this one."""
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        if Path(f"/proc/{pid}/comm").read_text().strip() in ("mariadbd", "mysqld"):
            return {"database": int(pid)}
    return {}


def cpu(pid: int) -> float:
    """Seconds of a processor's time that a process and its children have taken (proc(5), stat)."""
    total = 0
    for one in (str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


_UNITS = {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}


def load(url: str, cookie: str, seconds: int) -> dict[str, float]:
    """Let wrk ask for a page for so long."""
    command = [program("wrk", "wrk"), "--threads=1", f"--connections={CONNECTIONS}", f"--duration={seconds}s"]
    command += ["--latency", "--timeout=20s", "--header", f"Cookie: {cookie}"]
    command += ["--header", f"User-Agent: {BROWSER}", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise BuildError(f"{url} gave errors under load: {said}")
    times = {}
    for percent in (50, 99):
        found = re.search(rf"\b{percent}%\s+([\d.]+)(us|ms|s|m)\b", said)
        assert found is not None, said
        times[f"p{percent}_ms"] = round(float(found[1]) * _UNITS[found[2]], 2)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    done = re.search(r"(\d+) requests in", said)
    assert rate is not None and done is not None, said
    return {"rps": round(float(rate[1]), 1), "requests": int(done[1]), **times}


def _queries(url: str, path: str, cookie: str) -> int:
    """How many statements one page takes, in an application of its own."""
    sys.path.insert(0, str(paths.ROOT))
    import sqlalchemy as sa

    from microblog import create_app
    from microblog.config import Config
    from microblog.database import db

    app = create_app(Config(secret_key=SECRET_KEY, database_url=url))
    statements = []
    with app.app_context():
        sa.event.listen(db.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with app.test_client(use_cookies=False) as client:
        for _ in range(2):
            statements.clear()
            response = client.get(path, headers={"Cookie": cookie})
            if response.status_code != 200:
                raise BuildError(f"{path} answers {response.status_code}")
            if cookie and b'<article class="post' not in response.data:
                raise BuildError(f"{path} shows no posts")
            response.close()
    with app.app_context():
        db.engine.dispose()
    return len(statements)


def _acts(url: str) -> list[dict[str, Any]]:
    """What is done to the famous post, and to one that nobody knows: the median of some times."""
    import sqlalchemy as sa

    from microblog import create_app
    from microblog.config import Config
    from microblog.database import db
    from microblog.models import User, reactions
    from microblog.models.post import add_post, find_post

    app = create_app(Config(secret_key=SECRET_KEY, database_url=url))
    figures = []
    with app.app_context():
        statements: list[str] = []
        sa.event.listen(db.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        for number, post in ((FAMOUS, "famous"), (1, "unknown")):
            took: dict[str, list[tuple[float, int]]] = {}
            for place in range(30):
                for act in ("like", "unlike", "repost", "unrepost", "answer"):
                    user, about = User.find(f"user{place}"), find_post(number)
                    statements.clear()
                    began = time.monotonic()
                    if act == "answer":
                        add_post(user, "an answer", None, about)
                    else:
                        getattr(reactions, act)(user, about)
                    db.session.commit()
                    took.setdefault(act, []).append((time.monotonic() - began, len(statements)))
            for act, times in took.items():
                times.sort()
                milliseconds = [round(times[len(times) * part // 100][0] * 1000, 2) for part in (50, 99)]
                figures.append(
                    {
                        "page": f"{act}, a post that is {post}",
                        "reader": "ordinary",
                        "p50_ms": milliseconds[0],
                        "p99_ms": milliseconds[1],
                        "queries": max(count for _, count in times),
                    }
                )
        db.engine.dispose()
    return figures


def _pss(master: int) -> float:
    """MB of memory of a process and its children: what they share counts once."""
    total = 0
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    for pid in (str(master), *children):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        total += int(found[1]) if found else 0
    return total * 1024 / 1e6


def _shown(row: dict[str, Any], name: str, digits: int) -> str:
    # What is done is measured by its time alone.
    return f"{row[name]:.{digits}f}" if name in row else ""


def table(figures: dict[str, Any]) -> str:
    """The figures as people read them: rows of Markdown."""
    lines = [
        "| database | posts | page | reader | processor's ms | of it the log-in page's | requests/s | p50 ms"
        " | p99 ms | queries |",
        "|---|--:|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['db']} | {row['posts']:,} | {row['page']} | {row['reader']} | {_shown(row, 'cpu_ms', 2)} |"
        f" {_shown(row, 'ratio', 2)} | {_shown(row, 'rps', 0)} |"
        f" {row['p50_ms']:.1f} | {row['p99_ms']:.1f} | {row['queries']} |"
        for row in figures["results"]
    ]
    memory = ", ".join(f"{mb:.0f} MB with {name}" for name, mb in figures["pss_mb"].items())
    return "\n".join([*lines, "", f"Memory of all of gunicorn's processes: {memory}."])
