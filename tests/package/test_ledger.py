"""The ledger: what was changed is taken back exactly, and only if it is still ours."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from microblog.host.machine import files, ledger


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ledger, "FOLDER", tmp_path / "ledger")
    return tmp_path / "ledger"


def write(path: Path, text: str, mode: int = 0o644) -> bool:
    return ledger.write("x", path, text, mode, uid=os.getuid(), gid=os.getgid())


def back(command: str = "x") -> list[str]:
    said: list[str] = []
    ledger.take_back(command, said.append)
    assert ledger.entries(command) == []
    return said


def test_what_was_not_there_goes(tmp_path: Path) -> None:
    assert write(tmp_path / "new/file", "ours")
    assert not write(tmp_path / "new/file", "ours")
    assert back() == []
    assert not (tmp_path / "new").exists()
    # A folder that was there, or that somebody has used since, stays.
    (tmp_path / "old").mkdir()
    write(tmp_path / "old/file", "ours")
    write(tmp_path / "new/file", "ours")
    (tmp_path / "new/theirs").touch()
    back()
    assert not any((tmp_path / "old").iterdir())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["theirs"]


def test_folders_that_were_made_go_in_whatever_order(tmp_path: Path) -> None:
    for first, second in (("x", "y"), ("y", "x")):
        for command, name in (("x", "a/b/c/one"), ("y", "a/b/two")):
            ledger.write(command, tmp_path / name, "ours", 0o644, uid=os.getuid(), gid=os.getgid())
        back(first)
        assert (tmp_path / "a").exists()
        back(second)
        assert not (tmp_path / "a").exists()
    # One that somebody has taken away holds up no other.
    write(tmp_path / "a/b/file", "ours")
    (tmp_path / "a/b/file").unlink()
    (tmp_path / "a/b").rmdir()
    (tmp_path / "a/b").mkdir()
    write(tmp_path / "a/b/file", "ours")
    back()
    assert not (tmp_path / "a").exists()


def test_a_file_whose_folder_is_gone_holds_up_no_other(tmp_path: Path) -> None:
    for name in ("gone", "here"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "link").symlink_to("somewhere")
        (tmp_path / name / "file").write_text("theirs")
    for name in ("here/link", "here/file", "gone/link", "gone/file"):
        ledger.put_aside("x", tmp_path / name)
    (tmp_path / "gone").rmdir()
    back()
    assert (tmp_path / "here/link").readlink() == Path("somewhere")
    assert (tmp_path / "here/file").read_text() == "theirs"


def test_a_power_cut_leaves_neither_folders_nor_half_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a/b/password"
    real: Callable[..., None] = files.replace

    def cut(old: Path, new: Path) -> None:
        if new == path:
            raise PowerCut
        real(old, new)

    with monkeypatch.context() as patched, pytest.raises(PowerCut):
        patched.setattr(files, "replace", cut)
        write(path, "secret", 0o600)
    assert (tmp_path / "a/b").is_dir()
    ledger.settle()
    assert ledger.entries() == []
    assert not (tmp_path / "a").exists()


def test_what_was_replaced_comes_back_with_its_mode(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"theirs \xff\n")
    path.chmod(0o640)
    for text in ("ours", "ours again"):
        write(path, text, 0o600)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(entry.stat().st_mode & 0o77 == 0 for entry in folder.iterdir())
    back()
    assert path.read_bytes() == b"theirs \xff\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in folder.iterdir()] == ["index.json"]


def test_what_somebody_has_changed_since_stays_and_is_told(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    write(path, "ours")
    path.write_text("theirs now")
    assert "was changed since: it stays" in back()[0]
    assert path.read_text() == "theirs now"
    assert (folder / "kept-0001-file").read_text() == "before"
    # And where we change it once more, theirs is what comes back.
    write(path, "ours")
    path.write_text("theirs at last")
    write(path, "ours")
    # And there is nothing to tell: what was ours before that is theirs to have changed.
    assert back() == []
    assert path.read_text() == "theirs at last"


def test_what_is_there_already_is_not_ours_to_take_away(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("the same")
    assert not write(path, "the same")
    back()
    assert path.exists()


def test_links_and_files_put_aside_come_back(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("somewhere")
    (tmp_path / "file").write_text("theirs")
    ledger.put_aside("x", tmp_path / "link")
    ledger.put_aside("x", tmp_path / "file")
    ledger.link("x", tmp_path / "made", Path("target"))
    assert [os.path.lexists(tmp_path / name) for name in ("link", "file", "made")] == [False, False, True]
    back()
    assert (tmp_path / "link").readlink() == Path("somewhere")
    assert (tmp_path / "file").read_text() == "theirs"
    assert not os.path.lexists(tmp_path / "made")


def test_commands_are_undone_newest_first_and_then_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("a", "b"):
        ledger.run("x", name, ["true"], ["sh", "-c", f"echo undo {name} >> {log}"])
    ledger.run("x", "never", ["false"], ["sh", "-c", f"echo never >> {log}"])
    for name in ("c", "d"):
        then = [["sh", "-c", f"echo then >> {log}"]]
        ledger.write("x", tmp_path / name, "", 0o644, uid=os.getuid(), gid=os.getgid(), then=then)
    ledger.run("other", "kept", ["true"], ["sh", "-c", f"echo other >> {log}"])
    back()
    assert log.read_text().splitlines() == ["undo b", "undo a", "then"]
    assert [entry["name"] for entry in ledger.entries()] == ["kept"]


class PowerCut(BaseException):
    pass


@pytest.mark.parametrize("where", ["before the act", "after the act"])
@pytest.mark.parametrize("change", ["replace", "change again", "link"])
def test_a_power_cut_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, change: str
) -> None:
    path = tmp_path / "file"
    path.write_text("theirs")
    if change == "change again":
        write(path, "ours")
    with monkeypatch.context() as patched:

        def cut(*_: object, **__: object) -> None:
            raise PowerCut

        target: tuple[object, str] = (ledger, "_finish")
        if where == "before the act":
            target = (files, "link" if change == "link" else "write")
        real: Callable[..., None] = files.write
        if target == (files, "write"):
            # The index is written by it too.
            patched.setattr(
                files, "write", lambda file, *a, **k: cut() if file == path else real(file, *a, **k)
            )
        else:
            patched.setattr(*target, cut)
        with pytest.raises(PowerCut):
            if change == "link":
                ledger.link("x", path, Path("target"))
            else:
                write(path, "ours, the second time")
    assert ledger.entries()[0]["state"] == "begun"
    ledger.settle()
    assert all(entry["state"] == "done" for entry in ledger.entries())
    back()
    assert path.read_text() == "theirs"


def test_a_file_of_an_earlier_version_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "file"
    ledger.adopt("x", path)
    assert ledger.entries() == []
    path.write_text("ours, without a note")
    ledger.adopt("x", path)
    back()
    assert not path.exists()


@pytest.mark.parametrize("before", [None, "theirs, before"])
def test_what_was_left_or_given_back_is_no_file_of_an_earlier_version(
    tmp_path: Path, before: "str | None"
) -> None:
    """To undo twice takes nothing away that the first time has left."""
    path = tmp_path / "file"
    if before:
        path.write_text(before)
    write(path, "ours")
    if not before:
        path.write_text("ours, and theirs")
    there = before or path.read_text()
    for _ in range(2):
        back()
        assert path.read_text() == there
        ledger.adopt("x", path)
    assert ledger.entries() == []
    # Of what is gone, the next one there may be ours.
    write(tmp_path / "other", "ours")
    back()
    (tmp_path / "other").write_text("ours, without a note")
    ledger.adopt("x", tmp_path / "other")
    assert ledger.noted("x", tmp_path / "other")


def test_a_purge_keeps_what_was_somebodys_and_found_its_place_taken(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The package's postrm deletes the ledger's folder after that."""
    kept = tmp_path / "kept"
    monkeypatch.setattr(ledger, "KEPT", kept)
    ledger.main()
    (tmp_path / "fine").write_text("theirs")
    write(tmp_path / "fine", "ours")
    ledger.main()
    assert (tmp_path / "fine").read_text() == "theirs"
    assert not kept.exists()
    for number in (1, 2):
        (tmp_path / "site").write_text(f"theirs {number}")
        write(tmp_path / "site", "ours")
        (tmp_path / "site").write_text("theirs, later")
        ledger.main()
        shutil.rmtree(folder)
    assert {path.name: path.read_text() for path in kept.iterdir()} == {
        "kept-0001-site": "theirs 1",
        "kept-0001-site.2": "theirs 2",
    }
    assert f"is kept as {kept / 'kept-0001-site.2'}" in capsys.readouterr().err
    # Where the notes cannot be read, nothing comes back; nothing is lost either.
    write(tmp_path / "fine", "ours")
    (folder / "index.json").write_text("")
    ledger.main()
    assert (kept / "0001-fine").read_text() == "theirs"


def test_a_line_comes_back_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("A=1\n# mine\nB=2\nB=3")
    path.chmod(0o640)
    ledger.lines("x", path, {"B": "B=ours", "C": "C=ours", "A": "A=1"})
    assert path.read_text() == "A=1\n# mine\nB=ours\nC=ours\n"
    path.write_text(path.read_text() + "D=theirs\n")
    back()
    assert path.read_text() == "A=1\n# mine\nD=theirs\nB=3\n"
    assert path.stat().st_mode & 0o777 == 0o640
    ledger.lines("x", path, {"B": "B=ours"})
    path.write_text("B=theirs\n")
    assert "was changed since" in back()[0]
    assert path.read_text() == "B=theirs\n"


MAIN = "# mine\nmydestination = a,\n  b\nrelayhost =\n"


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A main.cf, and a postconf that writes each setting on a line of its own, as the real one does."""
    path = tmp_path / "main.cf"
    path.write_text(MAIN)

    def lines() -> dict[str, str]:
        joined = path.read_text().replace("\n  ", " ")
        found = (line.split("=", 1) for line in joined.splitlines() if not line.startswith("#"))
        return {name.strip(): value.strip() for name, value in found}

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        said, (_, option, what) = "", (*command, "")[:3]
        if option == "-e":
            name, _, value = what.partition("=")
            text = "".join(f"{key} = {one}\n" for key, one in {**lines(), name: value}.items())
            path.write_text("# mine\n" + text)
        elif option == "-X":
            path.write_text("".join(f"{key} = {one}\n" for key, one in lines().items() if key != what))
        else:
            said = "".join(f"{key} = {one}\n" for key, one in lines().items())
            said = said if option == "-n" else lines().get(what, "") + "\n"
        return subprocess.CompletedProcess(command, 0, said)

    monkeypatch.setattr(ledger, "_MAIN", path)
    monkeypatch.setattr(ledger, "_run", run)
    return path


def change(**values: str) -> None:
    ledger.settings("x", "postconf", values)


def test_a_mail_servers_file_comes_back_as_it_was_written(main: Path) -> None:
    change(mydestination="ours", relayhost="r")
    change(relayhost="r2")
    change(relayhost="r2")
    assert "mydestination = ours\nrelayhost = r2\n" in main.read_text()
    assert back() == []
    assert main.read_text() == MAIN


def test_what_somebody_has_changed_in_a_mail_servers_file_since_stays(main: Path, folder: Path) -> None:
    change(mydestination="ours")
    main.write_text(main.read_text() + "theirs = 1\n")
    # Whether we come by once more, or not.
    change(relayhost="r")
    back()
    assert main.read_text().splitlines() == ["# mine", "mydestination = a, b", "relayhost = ", "theirs = 1"]
    assert [entry.name for entry in folder.iterdir()] == ["index.json"]
    main.write_text(MAIN)
    change(mydestination="ours")
    main.write_text(main.read_text() + "theirs = 1\n")
    back()
    assert "theirs = 1" in main.read_text()
    assert "mydestination = a, b" in main.read_text()


def test_a_power_cut_between_a_mail_servers_settings_is_taken_back(
    main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        real = ledger._finish

        def cut(entry: ledger.Entry) -> None:
            real(entry)
            raise PowerCut

        patched.setattr(ledger, "_finish", cut)
        with pytest.raises(PowerCut):
            change(mydestination="ours", relayhost="r")
    back()
    assert "mydestination = a, b" in main.read_text()


def test_a_command_that_fails_the_second_time_is_still_undone(tmp_path: Path) -> None:
    for act in ("true", "false"):
        ledger.run("x", "it", [act], ["touch", str(tmp_path / "undone")])
    back()
    assert (tmp_path / "undone").exists()


def test_a_power_cut_in_the_second_time_takes_the_first_not_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate for one more name: the one that is there is still renewed."""
    path = tmp_path / "made"
    act, undo = ["touch", str(path)], ["rm", "-f", str(path)]
    ledger.run("x", "it", act, undo)
    with monkeypatch.context() as broken:
        broken.setattr(ledger, "_finish", cut_off)
        with pytest.raises(PowerCut):
            ledger.run("x", "it", act, undo)
        with pytest.raises(PowerCut):
            ledger.run("x", "other", act, ["rm", "-f", f"{path}.other"])
    (tmp_path / "made.other").touch()
    ledger.settle()
    assert path.exists()
    assert not (tmp_path / "made.other").exists()
    assert [(entry["name"], entry["state"]) for entry in ledger.entries()] == [("it", "done")]
    back()
    assert not path.exists()


def cut_off(_: object) -> None:
    raise PowerCut
