"""What a suite of images makes and checks."""

import pytest

from builder.dev import suites


@pytest.fixture
def ran(monkeypatch):
    """The commands that are run, without the machines."""
    made = []
    monkeypatch.setattr(suites, "attend", lambda command: made.append([*map(str, command[2:])]) or 0)
    monkeypatch.setattr(suites.os, "geteuid", lambda: 0)
    return made


def test_every_day_both_images_are_made_and_checked(ran):
    suites.run(["images"], False)
    assert ran == [["images"]]


def test_thoroughly_the_clouds_is_made_on_its_other_bases_too(ran):
    """Among them the 64-bit ARM machine, by UEFI."""
    suites.run(["images"], True)
    assert ran == [
        ["images"],
        ["check", "cloud", "--thorough"],
        ["check", "pi", "--thorough"],
        ["images", "cloud", "--base", "debian-13"],
        ["images", "cloud", "--base", "debian-12-arm64"],
    ]
    ran.clear()
    suites.run(["pi"], True)
    assert ran == [["images", "pi"], ["check", "pi", "--thorough"]]
