"""The benchmarks' own parts, those that need nothing installed."""

import asyncio
import importlib.util
import re

import pytest

from builder.core import paths


def benchmark(name):
    # Not by an import, that would make what it measures a need of this suite.
    spec = importlib.util.spec_from_file_location(f"bench_{name}", paths.ROOT / f"tests/bench/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site():
    return benchmark("site")


def test_all_kinds_of_pages_are_visited_by_everybody_in_each_language():
    memory = benchmark("memory")
    people = [memory.Person(f"session={name}", "form", f"token-{name}") for name in memory._PEOPLE]
    found = memory._requests(people, 900, memory._NEW, memory._NEW_ACTS, memory._CALLS)
    kinds = [len(text.split()) for text in (memory._NEW, memory._NEW_ACTS, memory._CALLS)]
    assert 900 <= len(found) < 900 + sum(kinds)
    assert not any("{" in one.path for one in found)
    assert {one.headers.get("Cookie") for one in found} == {person.cookie for person in people} | {None}
    assert {one.headers.get("Accept-Language") for one in found} == {"en", "es", "ru", None}
    assert all(one.path.startswith("/api/") == ("Authorization" in one.headers) for one in found)
    stage = {"stage": "all", "requests": 3, "refused": 0, "pss_mb": [50.1, 49.0], "own_mb": [40.0, 39.5]}
    assert memory.table({"stages": [stage]}).endswith("| all | 3 | 0 | 50.1 / 49.0 | 40.0 / 39.5 |")


def test_the_packages_site_of_nginx_is_moved_as_a_whole(site, tmp_path):
    text = site._site(tmp_path, 4443)
    assert re.findall(r"^\s*listen .*", text, re.MULTILINE) == ["    listen 127.0.0.1:4443 ssl http2;"]
    for line in re.sub(r"(?m)^\s*#.*", "", text).splitlines():
        for path in re.findall(r'(?<![\w."$])(/(?:etc|run|var/log|usr)/[^;"\s]*)', line):
            assert path.startswith((str(tmp_path), str(paths.ROOT))), line


def test_a_body_in_chunks(site):
    async def read():
        stream = asyncio.StreamReader()
        stream.feed_data(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nnext")
        return await site._chunks(stream), await stream.read(4)

    assert asyncio.run(read()) == (b"hello world", b"next")


def test_percentiles_and_their_table(site):
    times = sorted(number / 1000 for number in range(1, 101))
    assert site._percentiles(times) == {"p50_ms": 51.0, "p95_ms": 96.0, "p99_ms": 100.0}
    assert site._percentiles([]) == {}
    kinds = {kind: {"count": 1, **site._percentiles([0.002])} for kind in site.MIX} | {"follow": {"count": 0}}
    figures = {
        "readers": 1000,
        "posts": 10_000,
        "results": [
            {
                "db": "sqlite",
                "server": "package",
                "offered": 50,
                "rps": 49.8,
                "errors": 0,
                "turned_away": {"count": 3},
                "kinds": kinds,
                "cpu_ms": {"gunicorn": 4.21, "nginx": 0.3, "readers": 0.9},
            }
        ],
        "servers": [{"db": "sqlite", "server": "package", "gunicorn": 142.3, "nginx": 7.0, "said": []}],
    }
    table = site.table(figures)
    assert "| sqlite | package | 50 | 50 | 0 | 3 | 2 / 2 / 2 |" in table
    assert table.endswith("| sqlite | package | 142 | 7 | nothing |")
    assert "| sqlite | package | 50 | 4.2 | 0.0 | 0.3 | 0.9 |" in table
    assert "2 / 2 / 2 | - |" in table


def test_the_mix_is_a_whole(site):
    assert sum(site.MIX.values()) == 100
