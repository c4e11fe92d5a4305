"""The smallest machine that providers sell, with visitors on it: nobody is killed for want of memory."""

import json
import re
import shlex
import subprocess

import pytest
from conftest import GREETING
from visitor import Visitor

from builder.core.command import program
from builder.core.progress import step

pytestmark = [pytest.mark.cloud, pytest.mark.thorough]

_MEMORY_MB = 512
_CONNECTIONS, _SECONDS = 4, 300
_PAGES = ["/", "/explore", "/user/ada"]
# What each process has of its own, and its share of what it has in common (proc(5), smaps_rollup).
_PROCESSES = """
for process in /proc/[0-9]*; do
    name=$(cat $process/comm 2> /dev/null) || continue
    awk -v name="$name" '/^Pss:/ {pss = $2} /^SwapPss:/ {swap = $2} END {print pss + 0, swap + 0, name}' \
        $process/smaps_rollup 2> /dev/null || true
done
"""


@pytest.fixture(scope="module")
def small(lab, booted):
    """A machine with little memory, alone: it takes the others' place. And a visitor who is logged in."""
    lab.power_off()
    with lab.boot("small", memory_mb=_MEMORY_MB) as running:
        with step("Booting a small machine", "The small machine answers") as now:
            running.wait_for_site(now)
            running.wait_for_ssh(now)
        running.wait_for_cloud_init()
        Visitor(running.url).claim(running.run(GREETING))
        visitor = Visitor(running.url)
        visitor.register("ada", "a pass phrase that lasts")
        for number in range(30):
            visitor.write(f"note {number}")
        yield running, visitor


def test_pages_are_served_under_load_and_nobody_is_killed(small, lab):
    running, visitor = small
    before = running.run("sudo supervisorctl pid microblog; pidof mariadbd mysqld")
    script = lab.work / "pages.lua"
    pages = ", ".join(json.dumps(page) for page in _PAGES)
    script.write_text(
        f"local pages, turn = {{{pages}}}, 0\n"
        "request = function()\n"
        "  turn = turn + 1\n"
        "  return wrk.format('GET', pages[turn % #pages + 1])\n"
        "end\n"
    )
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.session.cookies)
    with step(f"Loading it for {_SECONDS} s", "Loaded it"):
        said = subprocess.run(
            [program("wrk", "wrk"), "-t1", f"-c{_CONNECTIONS}", f"-d{_SECONDS}s", "--timeout", "60s",
             "-s", script, "-H", f"Cookie: {cookies}", running.url],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    assert "Non-2xx" not in said
    requests = re.search(r"(\d+) requests in", said)
    assert requests
    assert int(requests[1]) > _CONNECTIONS
    assert "note 29" in visitor.get("/").text
    assert "oom_kill 0\n" in running.run("cat /proc/vmstat")
    # Who was started again in between was killed by something.
    assert running.run("sudo supervisorctl pid microblog; pidof mariadbd mysqld") == before
    assert running.run("systemctl --failed --no-legend --plain || true") == ""

    table: dict[str, list[int]] = {}
    for line in running.run(f"sudo sh -c {shlex.quote(_PROCESSES)}").splitlines():
        memory, swap, name = line.split(maxsplit=2)
        sums = table.setdefault(name, [0, 0])
        sums[0] += int(memory)
        sums[1] += int(swap)
    largest = sorted(table.items(), key=lambda item: -sum(item[1]))[:12]
    lines = [f"{name:<20}{memory // 1024:>6}{swap // 1024:>6}" for name, (memory, swap) in largest]
    result = {
        "requests": int(requests[1]),
        "meminfo": running.run("grep -E '^(MemTotal|MemAvailable|SwapTotal|SwapFree)' /proc/meminfo"),
        "processes": "\n".join(lines),
    }
    (lab.logs / "small-memory.txt").write_text(
        "\n".join(f"{name}: {value}" for name, value in result.items())
    )
