"""Parts of an update, of what is done by night, and of what monitors read, that need no machine."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from microblog.errors import HostError
from microblog.host.health import failed, monitors
from microblog.host.health.status import Fact
from microblog.host.machine import services
from microblog.host.site import telling
from microblog.host.updates import automatic, journal, packages, sight
from microblog.host.updates.journal import Change, Journal

SITE = Change("microblog", "1", "2", "Microblog:stable")
NEW = Change("python3-new", "", "3", "Debian:12.1/stable")
SIMULATED = """\
Reading package lists...
Inst python3-new (3 Debian:12.1/stable [all])
Inst microblog [1] (2 Microblog:stable [all]) []
Conf python3-new (3 Debian:12.1/stable [all])
Conf microblog (2 Microblog:stable [all])
"""


def answers(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, said: str, code: int = 0) -> None:
    def run(*_: str, **__: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess((), code, said)

    monkeypatch.setattr(module, name, run)


@pytest.mark.parametrize(
    ("login", "first_run", "told"),
    [
        (200, 302, ""),
        # Nobody has claimed it yet.
        (302, 200, ""),
        (302, 302, "302"),
        (500, 302, "500"),
        (302, 500, "302"),
        (0, 0, "nothing"),
    ],
)
def test_a_new_site_is_well_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: int, first_run: int, told: str
) -> None:
    codes = {"/login": login, "/first-run": first_run}
    monkeypatch.setattr(sight.Config, "load", lambda _: None)
    monkeypatch.setattr(sight.maintenance, "FLAG", tmp_path / "maintenance")
    monkeypatch.setattr(sight.nginx, "installed", lambda: False)
    monkeypatch.setattr(sight.front, "look", lambda _: SimpleNamespace(good=True))
    monkeypatch.setattr(sight.supervisor, "answers", lambda: True)
    monkeypatch.setattr(sight.front, "fetch", lambda _, path: codes[path])
    said = sight.complaint()
    assert said == (f"visitors who want to log in are answered {told}" if told else "")


def test_what_apt_would_do_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, packages, "_run", SIMULATED)
    assert packages.changes(everything=False) == [NEW, SITE]
    answers(monkeypatch, packages, "_run", SIMULATED + "Remv exim4 [4]\n")
    with pytest.raises(HostError, match="would remove exim4"):
        packages.changes(everything=False)
    answers(monkeypatch, packages, "_run", "E: Unmet dependencies.\n", 100)
    with pytest.raises(HostError, match="apt cannot update: Unmet dependencies"):
        packages.changes(everything=False)


@pytest.mark.parametrize(
    ("name", "concerns", "data"),
    [
        ("microblog", True, True),
        ("nginx", True, False),
        ("nginx-common", True, False),
        ("libnginx-mod-http-geoip", True, False),
        ("mariadb-server-core", True, True),
        ("mysql-server-8.0", True, True),
        ("python3-flask", True, False),
        ("gunicorn", True, False),
        ("python3.11", False, False),
        ("libc6", False, False),
        ("nginxless", False, False),
    ],
)
def test_what_the_site_stands_on(name: str, concerns: bool, data: bool) -> None:
    assert bool(packages.CONCERN.fullmatch(name)) is concerns
    assert packages.concerns_database([Change(name, "1", "2")]) is data


def test_what_was_refused_stays_so_until_the_next_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = tmp_path / "pins"
    monkeypatch.setattr(packages, "PINS", pins)
    packages.refuse([SITE, Change("nginx", "1", "5")])
    packages.refuse([SITE])
    assert pins.read_text().count("Pin: version 2\nPin-Priority: -1") == 1
    packages.accept([Change("other", "1", "2")])
    assert pins.read_text().count("Package: ") == 2
    packages.accept([Change("microblog", "1", "3")])
    assert "microblog" not in pins.read_text().partition("\n")[2]
    assert "Package: nginx\nPin: version 5\nPin-Priority: -1" in pins.read_text()
    packages.accept([Change("nginx", "1", "6")])
    assert not pins.exists()


def test_a_journal_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FOLDER", "JOURNAL", "OLD", "_LAST"):
        path = getattr(journal, name)
        monkeypatch.setattr(
            journal, name, tmp_path / path.relative_to(path.parent) if path.suffix else tmp_path
        )
    monkeypatch.setattr(journal, "OLD", tmp_path / "old")
    assert journal.read() is None
    assert journal.last() == {}
    begun = Journal("owner", [SITE, NEW], ["0001"], backup="/b")
    begun.at(journal.INSTALL)
    assert journal.read() == begun
    (tmp_path / "old").mkdir()
    journal.end(begun, journal.TAKEN_BACK, "it answers 500")
    assert journal.read() is None
    assert not (tmp_path / "old").exists()
    told = journal.last()
    assert (told["result"], told["why"], told["changes"][0]["new"]) == ("taken back", "it answers 500", "2")


DUMP = """\
APT::Periodic::Unattended-Upgrade "{on}";
Unattended-Upgrade::Origins-Pattern "";
{origins}"""
DEBIAN = 'Unattended-Upgrade::Origins-Pattern:: "origin=Debian,label=Debian-Security";\n'
SITES = 'Unattended-Upgrade::Origins-Pattern:: "origin=Microblog";\n'


@pytest.mark.parametrize(
    ("on", "origins", "told"),
    [
        (1, DEBIAN, "security"),
        (1, DEBIAN + SITES, "security and site"),
        (1, SITES, "site"),
        (1, "", "nothing"),
        (0, DEBIAN + SITES, "nothing"),
    ],
)
def test_what_is_done_by_night_is_asked_of_apt(
    monkeypatch: pytest.MonkeyPatch, on: int, origins: str, told: str
) -> None:
    answers(monkeypatch, services, "run", DUMP.format(on=on, origins=origins))
    monkeypatch.setattr("microblog.host.machine.apt.installed", lambda _: True)
    assert automatic.state().text() == told
    monkeypatch.setattr("microblog.host.machine.apt.installed", lambda _: False)
    assert automatic.state().text() == "nothing"


GOOD = {"version": Fact('1 "x"'), "visitors": Fact("see it at https://a/"), "backup": Fact("1 hours ago")}


@pytest.mark.parametrize(
    ("bad", "line", "code"),
    [
        ({}, "MICROBLOG OK - see it at https://a/", 0),
        ({"backup": Fact("none | yet", False)}, "MICROBLOG WARNING - backup: none / yet", 1),
        (
            {"visitors": Fact("nobody answers", False), "backup": Fact("none", False)},
            "MICROBLOG CRITICAL - visitors: nobody answers; backup: none",
            2,
        ),
    ],
)
def test_nagios_reads_one_line_and_a_code(bad: dict[str, Fact], line: str, code: int) -> None:
    assert monitors.nagios(lambda: {**GOOD, **bad}) == (line, code)


def test_nagios_is_told_what_cannot_be_told() -> None:
    def look() -> dict[str, Fact]:
        raise HostError("the settings cannot be read")

    assert monitors.nagios(look) == ("MICROBLOG UNKNOWN - the settings cannot be read", 3)


def test_prometheus_reads_each_metric_in_one_place() -> None:
    disk = {"/a": {"free_mib": 1234567, "free_percent": 5}, '/b"': {"free_mib": 2, "free_percent": 6}}
    facts = {**GOOD, "disk": Fact("", False, disk), "backup": Fact("", True, {"hours": 1.5, "none": None})}
    assert monitors.prometheus(facts).splitlines() == [
        "# HELP microblog_ok Whether a part of the site is well.",
        "# TYPE microblog_ok gauge",
        'microblog_ok{what="version"} 1',
        'microblog_ok{what="visitors"} 1',
        'microblog_ok{what="backup"} 1',
        'microblog_ok{what="disk"} 0',
        "# HELP microblog_info The version that is installed.",
        "# TYPE microblog_info gauge",
        'microblog_info{version="1 \\"x\\""} 1',
        "# TYPE microblog_backup_hours gauge",
        "microblog_backup_hours 1.5",
        "# TYPE microblog_disk_free_mib gauge",
        'microblog_disk_free_mib{folder="/a"} 1234567',
        'microblog_disk_free_mib{folder="/b\\""} 2',
        "# TYPE microblog_disk_free_percent gauge",
        'microblog_disk_free_percent{folder="/a"} 5',
        'microblog_disk_free_percent{folder="/b\\""} 6',
    ]


def test_a_unit_that_fails_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str]] = []
    reached = [False, True]

    def tell(subject: str, text: str, _: Any) -> bool:
        sent.append((subject, text))
        return reached.pop(0)

    monkeypatch.setattr(failed, "_TOLD", tmp_path / "told")
    monkeypatch.setattr(failed, "_LINEAGE", tmp_path / "none")
    monkeypatch.setattr(telling, "tell", tell)
    answers(monkeypatch, services, "run", "no such luck\n")
    # A mail that did not go is tried again; one that went is not.
    assert [failed.tell("microblog-backup", print) for _ in range(3)] == [False, True, False]
    assert len(sent) == 2
    assert sent[0][0] == "microblog-backup has failed"
    assert "no such luck" in sent[0][1]
    # What is not the site's is nobody's business here; a unit's name is no path.
    assert not failed.tell("certbot", print)
    assert not failed.tell("../ssh", print)


def test_a_repository_that_is_not_reached_is_said_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, packages, "_run", "Err:1 https://a stable\nW: Failed to fetch https://a/InRelease\n")
    assert packages.refresh() == ["Failed to fetch https://a/InRelease"]
    answers(monkeypatch, packages, "_run", "E: The repository 'https://a stable' is not signed.\n", 100)
    with pytest.raises(HostError, match="The repository 'https://a stable' is not signed"):
        packages.refresh()
