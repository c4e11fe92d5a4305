"""Packages as an archive had them on a day, from an archive of our own that has days."""

import shutil
import subprocess

import pytest
from test_pool import archive, lacks, old  # noqa: F401 - fixtures

from builder.bases import base, compose, snapshot
from builder.core.errors import BuildError
from builder.core.request import Request
from builder.defs import definition

_DAY = "20260131"
_DEBIAN = f"https://snapshot.debian.org/archive/debian/{_DAY}T000000Z/"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://deb.debian.org/debian", _DEBIAN),
        ("https://ftp.de.debian.org/debian/", _DEBIAN),
        ("http://security.debian.org/debian-security", _DEBIAN.replace("/debian/", "/debian-security/")),
        ("http://deb.debian.org/debian-security/", _DEBIAN.replace("/debian/", "/debian-security/")),
        ("http://archive.ubuntu.com/ubuntu/", f"https://snapshot.ubuntu.com/ubuntu/{_DAY}T000000Z/"),
        ("http://de.archive.ubuntu.com/ubuntu", f"https://snapshot.ubuntu.com/ubuntu/{_DAY}T000000Z/"),
        ("http://security.ubuntu.com/ubuntu", f"https://snapshot.ubuntu.com/ubuntu/{_DAY}T000000Z/"),
        ("http://ports.ubuntu.com/ubuntu-ports/", f"https://snapshot.ubuntu.com/ubuntu/{_DAY}T000000Z/"),
    ],
)
def test_an_archive_has_an_address_of_the_day(url, wanted):
    assert snapshot.address(url, _DAY) == wanted


@pytest.mark.parametrize(
    "url", ["http://archive.raspberrypi.com/debian/", "http://debian.org.example/debian"]
)
def test_what_has_no_snapshots_is_refused(url):
    with pytest.raises(BuildError, match="there are no snapshots of"):
        snapshot.address(url, _DAY)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((text, "is no day") for text in ("", "yesterday", "2026-01-31", "20260131T12", "20260231")),
        *((text, "is no day") for text in ("20261301", "20260131T250000Z", "2026013T1200000Z")),
        ("29990131", "is to come"),
    ],
)
def test_what_is_no_day_is_refused(text, said):
    """At once: an archive would only say that it has none such, after all that comes before."""
    with pytest.raises(BuildError, match=said):
        snapshot.moment(text)


def test_a_time_of_a_day_is_one_too():
    assert snapshot.moment(_DAY) == f"{_DAY}T000000Z"
    assert snapshot.moment(f"{_DAY}T123456Z") == f"{_DAY}T123456Z"


def test_both_forms_of_sources_and_no_comment():
    text = "# http://deb.debian.org/debian\ndeb [signed-by=/k] http://deb.debian.org/debian trixie main\n"
    text += "URIs: http://deb.debian.org/debian http://security.debian.org/debian-security\n"
    found = snapshot.sources(text, _DAY).splitlines()
    assert found[0] == "# http://deb.debian.org/debian"
    assert found[1] == f"deb [signed-by=/k] {_DEBIAN} trixie main"
    assert found[2] == f"URIs: {_DEBIAN} {_DEBIAN.replace('/debian/', '/debian-security/')}"


def test_a_bake_gets_the_packages_of_the_day(old, archive, lacks, monkeypatch):  # noqa: F811
    """On that day all was at version 2, today it is at 3."""
    (old.apt / "sources.list").write_text("deb [trusted=yes] http://deb.debian.org/debian stable main\n")
    there = archive.directory / "day"
    shutil.copytree(archive.directory, there, ignore=shutil.ignore_patterns("day"))
    archive("tool", 3)
    monkeypatch.setenv("MICROBLOG_MIRRORS", f"{_DEBIAN}={archive.url}day/")
    assert "tool_2_arm64.deb" in lacks(old, asked=Request(snapshot=_DAY))
    # What was found out then is another answer than today's.
    (old.apt / "sources.list").write_text(f"deb [trusted=yes] {archive.url} stable main\n")
    assert "tool_3_arm64.deb" in lacks(old)


def test_a_base_is_composed_of_the_packages_of_the_day(tmp_path):
    """Updates and security updates too; the machine itself is left with today's archives."""
    wanted = definition.load_base("debian-12")
    lines = compose.archives(wanted, Request(snapshot=_DAY))
    assert [line.split()[-3:-1] for line in lines] == [
        [_DEBIAN, "bookworm"],
        [_DEBIAN, "bookworm-updates"],
        [_DEBIAN.replace("/debian/", "/debian-security/"), "bookworm-security"],
    ]
    option, hook = compose._of_a_day(wanted, Request(snapshot=_DAY))
    assert "Check-Valid-Until" in option
    (tmp_path / "etc/apt").mkdir(parents=True)
    script = hook.removeprefix("--customize-hook=")
    subprocess.run(["sh", "-c", script, "exec", tmp_path], check=True)
    text = (tmp_path / "etc/apt/sources.list").read_text()
    assert "snapshot" not in text
    assert "http://security.debian.org/debian-security bookworm-security main" in text
    assert compose._of_a_day(wanted, Request()) == []


def test_the_day_counts_for_a_composed_base_alone():
    for name, differs in (("debian-12", True), ("ubuntu-22.04", False)):
        found = {
            base.made_from(definition.load_base(name), (), Request(snapshot=day)).digest for day in ("", _DAY)
        }
        assert (len(found) == 2) is differs
