"""The package's build: the same inputs, the same file; unchanged inputs, no build."""

import os
from pathlib import Path

import pytest

from builder.core import paths
from builder.core.errors import BuildError
from builder.core.needs import File
from builder.deb import package


def test_two_builds_are_bit_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two of now: the date inside is that of the last commit, which may be newer than dist/.
    monkeypatch.setattr(package, "DIST", tmp_path / "dist")
    first = package.build(fresh=True).read_bytes()
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("LC_ALL", "C")
    old = os.umask(0o077)
    try:
        second = package.build(fresh=True)
    finally:
        os.umask(old)
    assert second.read_bytes() == first


def test_unchanged_inputs_build_nothing(deb: Path) -> None:
    before = deb.stat().st_mtime_ns
    assert package.build() == deb
    assert deb.stat().st_mtime_ns == before


def test_the_key_covers_what_goes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "microblog/static/vendor").mkdir(parents=True)
    (tmp_path / "debian").mkdir()
    module = tmp_path / "microblog/module.py"
    module.write_text("x = 1\n")
    monkeypatch.setattr(package, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    first = package.made_from().digest
    module.write_text("x = 2\n")
    second = package.made_from().digest
    module.rename(tmp_path / "microblog/renamed.py")
    third = package.made_from().digest
    assert len({first, second, third}) == 3
    (tmp_path / "microblog/static/vendor/generated.css").write_text("")
    (tmp_path / "README.md").write_text("not in it")
    assert package.made_from().digest == third


def test_a_failing_step_names_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "DIST", tmp_path)
    monkeypatch.setattr(package, "_PYTHON", File("/bin/false", "coreutils"))
    with pytest.raises(BuildError) as caught:
        package.build()
    assert "debianize failed (exit code 1)" in caught.value.message
    assert str(tmp_path / "microblog.build.log") in caught.value.hint
    assert not list(tmp_path.glob("*.deb"))


def test_a_missing_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "DIST", tmp_path)
    made_up = "python-nowhere"
    monkeypatch.setattr(package, "_PYTHON", File("/nowhere/python3", made_up))
    with pytest.raises(BuildError, match="/nowhere/python3 is not there") as caught:
        package.build()
    assert caught.value.hint == "apt-get install python-nowhere"
