"""Parts of an update, of what is done by night, and of what monitors read, that need no machine."""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from microblog.commands import machine
from microblog.errors import HostError
from microblog.host.agent import verbs
from microblog.host.backups import journal as backup_journal
from microblog.host.backups import nightly
from microblog.host.handmade import take
from microblog.host.health import failed, monitors, status
from microblog.host.health.status import Fact
from microblog.host.machine import files, layout, privileges, services
from microblog.host.site import telling
from microblog.host.updates import automatic, journal, packages, sight, update
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


def test_each_refusal_is_a_stanza_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """apt reads two that have run together as one, and offers the other again."""
    pins = tmp_path / "pins"
    monkeypatch.setattr(packages, "PINS", pins)
    packages.refuse([SITE, Change("nginx", "1", "5")])
    packages.accept([Change("nginx", "1", "6")])
    packages.refuse([Change("supervisor", "1", "7")])
    assert pins.read_text().split("\n\n")[1:] == [
        "Package: microblog\nPin: version 2\nPin-Priority: -1",
        "Package: supervisor\nPin: version 7\nPin-Priority: -1\n",
    ]
    # Of a package that was taken away there is no version; of one that dpkg has not come to, the old one.
    before = pins.read_text()
    packages.refuse([Change("nginx", "1", ""), Change("gunicorn", "1", "1")])
    assert pins.read_text() == before
    # Somebody has written there, too.
    pins.write_text(f"{before}\n\n  \nPackage: mine\nPin: version 1\nPin-Priority: -1\n\n\n")
    packages.accept([SITE, Change("supervisor", "1", "8")])
    assert pins.read_text().endswith("\n\nPackage: mine\nPin: version 1\nPin-Priority: -1\n")
    packages.accept([Change("mine", "", "2")])
    assert not pins.exists()


def test_who_holds_a_package_is_told_how_to_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "E: Held packages were changed and -y was used without --allow-change-held-packages.\n"
    for line, way in ((said, "apt-mark unhold"), ("E: Unable to fetch some archives.\n", "mend that")):
        answers(monkeypatch, packages, "_run", line, 100)
        with pytest.raises(HostError, match=line[3:20]) as caught:
            packages.fetch([SITE])
        assert way in caught.value.hint


def test_what_only_looks_is_in_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "LOG", tmp_path / "log")
    packages._run("echo", "--simulate")
    assert not packages.LOG.exists()
    packages._run("echo", "done")
    assert packages.LOG.read_text().endswith("echo done\ndone\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, path in {
        **{"FOLDER": "", "JOURNAL": "journal.json", "OLD": "old", "_LAST": "last.json"},
        **{"PROGRESS": "progress", "TOLD": "told", "_LOCK": "lock"},
    }.items():
        monkeypatch.setattr(journal, name, tmp_path / path)
    monkeypatch.setattr(update, "_CODE", tmp_path / "code")
    monkeypatch.setattr(layout, "RUN", tmp_path)
    monkeypatch.setattr(privileges, "require_root", lambda *_: None)
    return tmp_path


@pytest.mark.parametrize(
    "damaged", ["", '{"origin": "owner", "chan', "[]", '{"changes": [{"x": 1}]}', '{"changes": []}', "\0\0"]
)
def test_a_damaged_journal_is_one_line_and_hides_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    journal.JOURNAL.write_text(damaged)
    with pytest.raises(HostError, match="cannot be read: it is damaged") as caught:
        journal.read()
    assert f"rm {journal.JOURNAL}" in caught.value.hint
    (folder / "last.json").write_text(damaged)
    assert journal.last() == {}
    monkeypatch.setattr(status, "_FACTS", {"update": status._update, "version": status._version})
    monkeypatch.setattr(status.Config, "load", lambda _: None)
    facts = status.status()
    assert (facts["update"].ok, facts["version"].ok) == (False, True)
    assert "is damaged" in facts["update"].text


@pytest.mark.parametrize(
    "result, ok", [(journal.UPDATED, True), (journal.TAKEN_BACK, True), (journal.FAILED, False)]
)
def test_what_was_taken_back_needs_nobody(folder: Path, result: str, ok: bool) -> None:
    journal.end(Journal("owner", [], ["0001"]), result, "it does not start")
    fact = status._update(None)  # type: ignore[arg-type]
    assert (fact.ok, fact.values["result"]) == (ok, result)
    assert ("it does not start" in fact.text) == (result != journal.UPDATED)


def test_the_log_of_updates_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "update.log"
    monkeypatch.setattr(packages, "LOG", log)
    for number in range(5):
        packages._log(f"{number}" * 2**20)
        packages._log("\n")
    assert sorted(tmp_path.iterdir()) == [log, tmp_path / "update.log.1"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * 2**20
    assert "4" in log.read_text() + (tmp_path / "update.log.1").read_text()


def test_one_that_had_changed_nothing_is_no_update_and_stops_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its terminal was closed while it was prepared."""
    monkeypatch.setattr(services, "booted", lambda: True)
    answers(monkeypatch, services, "run", "")
    for earlier in ({}, {"result": "taken back", "why": "x", "changes": [], "began": "1", "ended": "2"}):
        (folder / "last.json").write_text(json.dumps(earlier))
        Journal("owner", [SITE], []).at(journal.PREPARE)
        begun = update.begin()
        assert update.finish(print) is None
        update.see_good(update.ended(begun))
        assert update.ended(begun)["result"] == journal.NOTHING
    Journal("owner", [SITE], []).at(journal.PREPARE)
    assert not update._not_ended()
    assert journal.read() is None
    begun = Journal("owner", [SITE], [])
    begun.at(journal.READY)
    assert update._not_ended()
    which = update.begin()
    journal.end(begun, journal.UPDATED)
    assert update.ended(which)["result"] == journal.UPDATED


def test_what_ends_an_update_is_there_before_it_begins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "FINISH", folder / "code/finish")
    there: list[bool] = []
    monkeypatch.setattr(Journal, "at", lambda *_: there.append(update.FINISH.exists()))
    update._keep(Journal("owner", [], []))
    assert there == [True]


def test_the_systems_own_update_is_not_ended_while_it_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Journal("system", [SITE], []).at(journal.SYSTEM)
    monkeypatch.setattr(services, "state", lambda _: "activating")
    monkeypatch.setattr(services, "booted", lambda: True)
    monkeypatch.setattr(services, "run", lambda *_: pytest.fail("it would forget what is kept"))
    with pytest.raises(HostError, match="the system updates itself at this moment"):
        update.begin()
    assert journal.read()


def test_a_failure_of_the_updates_unit_is_told_again_after_a_success(folder: Path) -> None:
    journal.TOLD.mkdir()
    (journal.TOLD / "microblog-update").touch()
    Journal("owner", [SITE], []).at(journal.PREPARE)
    update.finish(print)
    assert list(journal.TOLD.iterdir()) == []


def test_roots_own_umask_closes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's user reads the code that is kept, and everybody the status."""
    monkeypatch.setattr(journal, "FOLDER", folder / "new")
    monkeypatch.setattr(update.automatic, "state", lambda: update.automatic.Automatic(True, False))
    monkeypatch.setattr(update.sight, "switched_off", lambda: False)
    monkeypatch.setattr(update.sight, "complaint", lambda: "")
    monkeypatch.setattr(update.sight, "wait", lambda _: "")
    monkeypatch.setattr(update, "_revisions", lambda: [])
    monkeypatch.setattr(packages, "simulated", lambda _: [SITE])
    monkeypatch.setattr(packages, "size", lambda _: 0)
    monkeypatch.setattr(packages, "automatic", lambda _: [])
    monkeypatch.setattr(packages, "fetch", lambda _: None)
    monkeypatch.setattr(update, "_keep", lambda _: stop())

    def stop() -> None:
        raise HostError("it is full")

    def prepare() -> None:
        with pytest.raises(HostError, match="it is full"):
            update.prepare(update.Plan([SITE], 0), print)

    for begin in (prepare, lambda: update.watch(print)):
        before = os.umask(0o077)
        try:
            begin()
            assert journal.FOLDER.stat().st_mode & 0o777 == 0o755
        finally:
            os.umask(before)
        journal.FOLDER.rmdir()


def test_the_night_is_not_watched_where_nothing_is_updated_by_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update.automatic, "state", lambda: update.automatic.Automatic(False, False))
    monkeypatch.setattr(packages, "simulated", lambda _: pytest.fail("nobody updates"))
    monkeypatch.setattr(update.sight, "wait", lambda _: pytest.fail("nobody updates"))
    update.watch(print)


def test_what_would_be_undone_by_the_way_back_waits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = folder / "microblog-20260101T000000Z-update.tar.gz"
    made.touch()
    monkeypatch.setattr(layout, "BACKUPS", folder)
    Journal("system", [SITE], [], backup=str(made)).at(journal.CHECK)
    for act in (
        lambda: verbs.VERBS["restore"].work(print, made.name),
        lambda: verbs.VERBS["delete-backup"].work(made.name),
        lambda: machine._restore(made, "x", print, check=False, force=False),
        lambda: take.take("", print),
    ):
        with pytest.raises(HostError, match="while an update has not ended") as caught:
            act()
        assert "microblog update --finish" in caught.value.hint
    assert made.exists()


def test_the_way_back_is_none_where_a_package_stayed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Visitors may see a site that is well, of a version that nobody was to have."""
    monkeypatch.setattr(update, "_data_back", lambda *_, **__: "")
    monkeypatch.setattr(packages, "PINS", folder / "pins")
    monkeypatch.setattr(packages, "put_back", lambda *_: "dpkg: error: it breaks python3-new")
    monkeypatch.setattr(services, "booted", lambda: True)
    monkeypatch.setattr(services, "state", lambda _: "active")
    monkeypatch.setattr(update.sight, "switched_off", lambda: False)
    monkeypatch.setattr(update.sight, "wait", lambda _: "")
    monkeypatch.setattr(update, "_tell", lambda *_: None)
    for version, result in (("2", journal.FAILED), ("1", journal.TAKEN_BACK)):
        monkeypatch.setattr(packages, "installed", lambda _, version=version: version)
        ended = update._go_back(Journal("owner", [SITE], [], why="it answers 500"), print)
        assert ended["result"] == result
    monkeypatch.setattr(packages, "installed", lambda _: "2")
    assert packages.not_back([SITE, NEW], "it breaks") == "microblog stayed as the update left it: it breaks"


def test_without_systemd_the_new_version_is_set_up_before_it_is_looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its package leaves that to others: the old one would run on, and seem to be good."""
    monkeypatch.setattr(services, "booted", lambda: False)
    answers(monkeypatch, services, "run", "Waiting ...\nmicroblog: it does not start\n  see its log\n", 1)
    assert update._set_up() == "it does not start"
    answers(monkeypatch, services, "run", "", 1)
    assert update._set_up() == "setup has failed"
    answers(monkeypatch, services, "run", "Nothing was missing\n")
    assert update._set_up() == ""
    monkeypatch.setattr(services, "booted", lambda: True)
    answers(monkeypatch, services, "run", "", 1)
    assert update._set_up() == "", "its own trigger has done that"


def test_a_disk_that_the_update_has_filled_stops_no_way_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.write

    def full(path: Path, *arguments: Any) -> None:
        if journal.OLD.exists():
            raise OSError(28, "No space left on device", str(path))
        write(path, *arguments)

    Journal("owner", [SITE], []).at(journal.READY)
    journal.OLD.mkdir()
    monkeypatch.setattr(files, "write", full)
    monkeypatch.setattr(packages, "PINS", folder / "pins")
    for name, answer in {"wait_for_others": None, "put_back": "", "installed": "1"}.items():
        monkeypatch.setattr(packages, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(packages, "install", lambda *_: "")
    monkeypatch.setattr(services, "state", lambda _: "active")
    monkeypatch.setattr(services, "booted", lambda: True)
    monkeypatch.setattr(update.sight, "switched_off", lambda: False)
    seen = ["the site is not well", ""]
    monkeypatch.setattr(update.sight, "wait", lambda _: seen.pop(0))
    monkeypatch.setattr(update, "_tell", lambda *_: None)
    said: list[str] = []
    ended = update.finish(said.append)
    assert ended and ended["result"] == journal.TAKEN_BACK
    assert f"apt will offer that version again: {packages.PINS}: No space left on device" in said
    assert (journal.last(), journal.read()) == (ended, None)


def test_settings_that_cannot_be_read_keep_no_package_from_going_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROBLOG_ENV_FILE", str(folder))
    assert update._data_back(Journal("owner", [SITE], [], backup="/b"), print)
    assert update._data_back(Journal("owner", [SITE], []), print) == ""


def test_a_journal_is_read_as_it_was_written(folder: Path) -> None:
    tmp_path = folder
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

    monkeypatch.setattr(journal, "TOLD", tmp_path / "told")
    monkeypatch.setattr(nightly, "was_told", lambda: False)
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
    # Done by hand since: it has not failed any more, and another time is told.
    asked: list[tuple[str, ...]] = []

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "failed\n")

    monkeypatch.setattr(services, "run", run)
    monkeypatch.setattr(services, "booted", lambda: True)
    failed.mended("microblog-backup", "microblog-setup")
    assert not (tmp_path / "told/microblog-backup").exists()
    assert asked[-1] == ("systemctl", "reset-failed", "microblog-setup.service", "microblog-backup.service")


def test_what_the_night_has_told_is_not_told_again_by_its_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BACKUPS", tmp_path)
    monkeypatch.setattr(journal, "TOLD", tmp_path / "told")
    sent: list[str] = []
    monkeypatch.setattr(telling, "tell", lambda subject, *_: not sent.append(subject))
    answers(monkeypatch, services, "run", "killed\n")
    backup_journal.failed("send", HostError("it is full", "make room"))
    for _ in range(2):
        nightly.tell(print)
        failed.tell("microblog-backup", print)
    assert sent == ["backups need you"]
    # One that was killed has told nothing.
    backup_journal.note(told=None)
    failed.tell("microblog-backup", print)
    assert sent[1:] == ["microblog-backup has failed"]


def test_a_repository_that_is_not_reached_is_said_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, packages, "_run", "Err:1 https://a stable\nW: Failed to fetch https://a/InRelease\n")
    assert packages.refresh() == ["Failed to fetch https://a/InRelease"]
    answers(monkeypatch, packages, "_run", "E: The repository 'https://a stable' is not signed.\n", 100)
    with pytest.raises(HostError, match="The repository 'https://a stable' is not signed"):
        packages.refresh()
