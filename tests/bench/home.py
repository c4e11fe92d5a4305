"""The home feed of sites that nobody has here: 1 million accounts to 1,000 million, by a simulation.

Three ways: to read the posts of whom one follows when one looks (pull, today's), to write each post into a
list of each follower's (push), and to push what most write and pull what the few write whom very many
follow (both). What a statement costs is measured, in seconds of a processor, of this computer's MariaDB and
of who asks it; how often it is made follows from a graph of followers with the published shape. A database is
shared out by account over as many machines as the work takes, and who pulls asks each that has somebody whom
they follow.

MICROBLOG_BENCH_ACCOUNTS (1000000,10000000,100000000,1000000000); MICROBLOG_BENCH_SECONDS (2) for each
constant.
"""

import math
import os
import random
import resource
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from builder.core import paths
from builder.core.progress import step

sys.path.insert(0, str(paths.ROOT / "tests"))
import database_servers

NEEDS = database_servers.NEEDS
ACCOUNTS = [
    int(count)
    for count in os.environ.get("MICROBLOG_BENCH_ACCOUNTS", "1000000,10000000,100000000,1000000000").split(
        ","
    )
]
SECONDS = float(os.environ.get("MICROBLOG_BENCH_SECONDS", "2"))
# The graph. The number of accounts that have k followers falls as k to this power (Kwak and others, "What is
# Twitter, a Social Network or a News Media?", 2010), up to a part of all; each follows so many on average.
EXPONENT, LARGEST, FOLLOWED = 2.276, 0.1, 100
# Accounts that come at least now and then; only their lists are kept. Of each of these, in a day: posts, and
# looks at home. Twitter, 2013: 4,600 posts and 300,000 looks a second.
ACTIVE, POSTS, LOOKS = 0.3, 2.0, 130.0
# Who has more followers writes more: posts grow with followers to this power.
EAGER = 0.25
# A list's length, and bytes of an entry with its tree's share.
LIST, ENTRY = 800, 40
# A machine: processors, which part of them is used at most, and gigabytes of lists.
CORES, USED, LISTS_GB = 16, 0.5, 500
# How many write one post into lists at once; and by both, it is in all of them after so many seconds.
WRITERS, SOON = 4, 5.0
_PARTS = 400
_DAY = 86_400
# For what is measured.
_AUTHORS, _PEOPLE, _KEPT, _BATCH = 20_000, 20_000, 50, 500


def measure() -> dict[str, Any]:
    """:return: ``constants``, in microseconds of a processor; ``results``, a size each; ``check``: the
    published site by the same model."""
    with step("Measuring what statements cost", "Measured what statements cost"):
        constants = _constants()
    results = [simulate(count, constants) for count in ACCOUNTS]
    sizes = [int(10 ** (power / 2)) for power in range(8, 19)]
    push = next((count for count in sizes if _wins(simulate(count, constants))), None)
    # 150 million who come, who make 4,600 posts and 300,000 looks a second.
    return {
        "constants": {name: round(value * 1e6, 1) for name, value in constants.items()},
        "results": results,
        "push_wins_from": push,
        "check": simulate(int(200e6 / ACTIVE), constants),
    }


def _wins(result: dict[str, Any]) -> bool:
    return bool(result["push"]["cores"] < result["pull"]["cores"])


def followers(count: int) -> list[tuple[float, float]]:
    """The graph: pairs of a number of followers, and of how many accounts have about as many.

    A power law from some least number, by which the average is FOLLOWED, to a part of all.
    """
    most = count * LARGEST
    low, high = 0.01, min(1000.0, most / 2)
    for _ in range(60):
        least = math.sqrt(low * high)
        low, high = (least, high) if _average(least, most) < FOLLOWED else (low, least)
    step = (most / least) ** (1 / _PARTS)
    edges = [least * step**place for place in range(_PARTS + 1)]
    power = 1 - EXPONENT
    whole = edges[0] ** power - edges[-1] ** power
    return [
        (math.sqrt(one * other), count * (one**power - other**power) / whole)
        for one, other in pairwise(edges)
    ]


def _average(least: float, most: float) -> float:
    one, two = 1 - EXPONENT, 2 - EXPONENT
    return (most**two - least**two) / two / ((most**one - least**one) / one)


def simulate(count: int, constants: dict[str, float]) -> dict[str, Any]:
    """:return: posts and looks a second, and of each way its processors, machines and more."""
    graph = followers(count)
    active = count * ACTIVE
    posts, looks = active * POSTS / _DAY, active * LOOKS / _DAY
    # Of each part: who come of an account's followers, and how many posts all of them write a second.
    eager = sum(accounts * fans**EAGER for fans, accounts in graph)
    parts = [(fans * ACTIVE, posts * accounts * fans**EAGER / eager) for fans, accounts in graph]
    largest = max(fans * ACTIVE for fans, accounts in graph if accounts >= 0.5)
    write = posts * constants["post"]
    found: dict[str, Any] = {"accounts": count, "posts": posts, "looks": looks}

    # To pull: as many statements as machines have somebody; and these depend on how many machines there are.
    machines = 1
    for _ in range(50):
        asked = machines * (1 - (1 - 1 / machines) ** FOLLOWED) if machines > 1 else 1.0
        cores = write + looks * (constants["pull"] + (asked - 1) * constants["statement"])
        if (needed := _machines(cores, 0)) == machines:
            break
        machines = needed
    found["pull"] = {"cores": cores, "machines": machines, "asked": asked}

    lists = active * LIST * ENTRY / 1e9
    for name, bound in (("push", largest), ("both", min(largest, SOON * WRITERS / constants["entry"]))):
        entries = sum(rate * fans for fans, rate in parts if fans <= bound)
        # Those of the few whom a reader follows are asked for, and put between.
        beyond = sum(fans * accounts for fans, accounts in graph if fans * ACTIVE > bound)
        few = beyond / count if bound < largest else 0.0
        merged = constants["author"] * few + (constants["statement"] if few else 0.0)
        cores = write + looks * (constants["list"] + merged) + entries * constants["entry"]
        found[name] = {
            "cores": cores, "machines": _machines(cores, lists), "entries": entries, "lists_gb": lists,
            "bound": bound, "few": few, "slowest": min(bound, largest) * constants["entry"] / WRITERS,
        }  # fmt: skip
    return found


def _machines(cores: float, lists_gb: float) -> int:
    return max(1, math.ceil(cores / (CORES * USED)), math.ceil(lists_gb / LISTS_GB))


def _constants() -> dict[str, float]:
    """Seconds of a processor: of the database and of this process."""
    with database_servers.mariadb("--innodb-buffer-pool-size=1G") as server:
        connection = server.connect()
        cursor = connection.cursor()
        server.create("bench")
        cursor.execute("USE bench")
        _fill(server.socket.parent, cursor)
        pid = int((server.socket.parent / "pid").read_text())
        chance = random.Random(1)  # noqa: S311
        numbers = iter(range(10**7, 10**9))

        def pull() -> None:
            reader = chance.randrange(_PEOPLE)
            # As microblog.models.feeds: who of them wrote last, and then theirs.
            cursor.execute(
                "SELECT author FROM (SELECT f.author, (SELECT p.id FROM posts p FORCE INDEX (by_author)"
                " WHERE p.author = f.author ORDER BY p.id DESC LIMIT 1) last FROM follows f"
                " WHERE f.reader = %s) t WHERE last IS NOT NULL ORDER BY last DESC LIMIT 20",
                (reader,),
            )
            authors = [row[0] for row in cursor.fetchall()]
            cursor.execute(_newest(authors))
            cursor.fetchall()

        def author() -> None:
            cursor.execute(_newest([chance.randrange(_AUTHORS) for _ in range(10)]))
            cursor.fetchall()

        def one_list() -> None:
            query = "SELECT post FROM lists WHERE reader = %s ORDER BY post DESC LIMIT 20"
            cursor.execute(query, (chance.randrange(_PEOPLE),))
            cursor.fetchall()

        def entries() -> None:
            number = next(numbers)
            people = sorted(chance.sample(range(_PEOPLE), _BATCH))
            cursor.execute(
                f"INSERT IGNORE INTO lists VALUES {','.join(f'({one},{number})' for one in people)}"  # noqa: S608
            )
            # As many go at the other end.
            cursor.execute(
                "DELETE FROM lists WHERE reader BETWEEN %s AND %s ORDER BY reader, post LIMIT %s",
                (chance.randrange(_PEOPLE), _PEOPLE, _BATCH),
            )

        def post() -> None:
            cursor.execute(
                "INSERT INTO posts (author, body) VALUES (%s, %s)", (chance.randrange(_AUTHORS), "x" * 80)
            )

        def statement() -> None:
            cursor.execute("SELECT 1 FROM posts WHERE id = %s", (chance.randrange(10**5),))
            cursor.fetchall()

        ten = _cost(author, pid)
        one = _cost(statement, pid)
        return {
            "pull": _cost(pull, pid), "list": _cost(one_list, pid), "entry": _cost(entries, pid) / _BATCH,
            "author": max(0.0, ten - one) / 10, "post": _cost(post, pid), "statement": one,
        }  # fmt: skip


def _newest(authors: list[int]) -> str:
    """What some have written last, in order."""
    parts = " UNION ALL ".join(
        f"(SELECT id FROM posts FORCE INDEX (by_author) WHERE author = {author}"  # noqa: S608
        " ORDER BY id DESC LIMIT 20)"
        for author in authors
    )
    return f"SELECT GROUP_CONCAT(id) FROM (SELECT id FROM ({parts}) e ORDER BY id DESC LIMIT 20) t"  # noqa: S608


def _fill(folder: Path, cursor: Any) -> None:
    chance = random.Random(2)  # noqa: S311
    tables = {
        "posts": (
            "id BIGINT AUTO_INCREMENT PRIMARY KEY, author INT NOT NULL, body VARCHAR(140),"
            " KEY by_author (author, id)",
            (f"{number}\t{chance.randrange(_AUTHORS)}\t{'x' * 80}" for number in range(1, 10 * _AUTHORS)),
        ),
        "follows": (
            "reader INT, author INT, PRIMARY KEY (reader, author)",
            (
                f"{reader}\t{author}"
                for reader in range(_PEOPLE)
                for author in sorted(chance.sample(range(_AUTHORS), FOLLOWED))
            ),
        ),
        "lists": (
            "reader INT, post BIGINT, PRIMARY KEY (reader, post)",
            (f"{reader}\t{100 * post}" for reader in range(_PEOPLE) for post in range(1, _KEPT + 1)),
        ),
    }
    for name, (columns, lines) in tables.items():
        cursor.execute(f"CREATE TABLE {name} ({columns})")
        path = folder / f"{name}.txt"
        with path.open("w") as stream:
            stream.writelines(f"{line}\n" for line in lines)
        cursor.execute(f"LOAD DATA INFILE '{path}' INTO TABLE {name}")
        path.unlink()
    cursor.execute(f"ANALYZE TABLE {', '.join(tables)}")
    cursor.fetchall()


def _cost(work: Callable[[], None], pid: int) -> float:
    """Seconds of a processor, for one time, of the server and of this process."""
    for _ in range(20):
        work()
    began, before, times = time.monotonic(), _processor(pid), 0
    while time.monotonic() - began < SECONDS:
        work()
        times += 1
    return (_processor(pid) - before) / times


def _processor(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    mine = resource.getrusage(resource.RUSAGE_SELF)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + mine.ru_utime + mine.ru_stime


def table(figures: dict[str, Any]) -> str:
    """As in docs/scale.md."""
    said = ", ".join(f"{name} {value:g}" for name, value in figures["constants"].items())
    lines = [
        f"Microseconds of a processor: {said}",
        "",
        "| accounts | posts/s | looks/s | pull: machines (asked for a page) | push: machines | entries/s"
        " | lists (GB) | slowest post (s) | both: machines | pulled: who has more readers than"
        " | slowest post (s) |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for result in [*figures["results"], figures["check"]]:
        pull, push, both = result["pull"], result["push"], result["both"]
        cells = (
            *(result["accounts"], result["posts"], result["looks"]),
            f"{_said(pull)} ({pull['asked']:.0f})",
            *(_said(push), push["entries"], push["lists_gb"], f"{push['slowest']:.2g}"),
            *(_said(both), both["bound"] if both["few"] else "nobody", f"{both['slowest']:.2g}"),
        )
        lines.append(
            "| " + " | ".join(one if isinstance(one, str) else f"{one:,.0f}" for one in cells) + " |"
        )
    wins = figures["push_wins_from"]
    lines += [
        "",
        f"Push takes less than pull from {wins:,} accounts on" if wins else "Pull takes less everywhere",
    ]
    return "\n".join(lines)


def _said(way: dict[str, Any]) -> str:
    """Its machines, and of how much their processors are."""
    return (
        f"{way['machines']:,} ({way['cores']:,.2g} processors)"
        if way["cores"] < 10
        else (f"{way['machines']:,} ({way['cores']:,.0f} processors)")
    )
