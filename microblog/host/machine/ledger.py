"""What was changed on this server: noted before the act, finished after it, taken back exactly.

A folder with an index and a copy of each file that was replaced, for root's eyes alone. An entry
is taken back only where what is there is still what this package has put there: what somebody has
changed since is theirs. An act that a power cut has ended is settled by the next look at it.

Reaches the standard library and files alone: the package's prerm keeps a copy of this beside the
ledger, with which postrm takes back at purge, when the package itself is gone.
"""

import errno
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from microblog.host.machine import files, signals

FOLDER = Path("/etc/microblog/ledger")
_INDEX = "index.json"
# Beside the folder: files that are somebody's, though they have a name of ours; left, or given back.
_THEIRS = "theirs.json"
# Where, at purge, what was somebody's goes that found its place taken.
KEPT = Path("/var/backups/microblog-kept")
_MAIN = Path("/etc/postfix/main.cf")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

# An entry: id, command (by which), kind, path or name, before, after, when, state, then.
Entry = dict[str, Any]


def entries(command: str = "") -> list[Entry]:
    """What was changed, oldest first. :param command: by this one alone."""
    found: list[Entry] = _read()
    return [entry for entry in found if not command or entry["command"] == command]


def write(
    command: str,
    path: Path,
    text: str,
    mode: int,
    *,
    uid: int = 0,
    gid: int = 0,
    then: Sequence[Sequence[str]] = (),
) -> bool:
    """Write a file, whole, and keep what was there.

    :param then: commands to run after it was taken back.
    :return: whether anything was different.
    """
    if path.is_file() and not path.is_symlink() and path.read_text(errors="replace") == text:
        # Somebody else's, if it is not noted.
        return False
    after = {"sha256": _digest(text.encode())}
    entry = _begin(command, "file", str(path), after, then)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    files.write(path, text, mode, uid, gid)
    _finish(entry)
    return True


def link(command: str, path: Path, target: Path, then: Sequence[Sequence[str]] = ()) -> None:
    """Make a symbolic link, and keep what was there."""
    entry = _begin(command, "file", str(path), {"link": str(target)}, then)
    files.link(path, target)
    _finish(entry)


def put_aside(command: str, path: Path, then: Sequence[Sequence[str]] = ()) -> None:
    """Take a file or a link away, and keep it."""
    entry = _begin(command, "file", str(path), None, then)
    path.unlink(missing_ok=True)
    files.sync_directory(path.parent)
    _finish(entry)


def adopt_aside(command: str, path: Path, kept: Path) -> None:
    """Note a file that an earlier version has put aside, without a note, and keep it here."""
    entry = _begin(command, "file", str(path), None, (), source=kept)
    kept.unlink()
    _finish(entry)


def adopt(command: str, path: Path, then: Sequence[Sequence[str]] = ()) -> None:
    """Note a file that an earlier version of this package has made, without a note."""
    if noted(command, path) or not os.path.lexists(path) or str(path) in _theirs():
        return
    entry = _begin(command, "file", str(path), _known(_look(path)), then, before=None)
    _finish(entry)


def settings(
    command: str, program: str, values: Mapping[str, str], then: Sequence[Sequence[str]] = ()
) -> None:
    """Change settings of postfix's, each on its own; and keep their file, for what it has besides: comments,
    lines that are continued.

    :param program: ``postconf``.
    :raises OSError: it refuses.
    """
    changed = {name: value for name, value in values.items() if _postconf(name) != value}
    if not changed:
        return
    whole = _whole(command)
    for name, value in changed.items():
        entry = _begin(command, program, name, value, then)
        _run([program, "-e", f"{name}={value}"], check=True)
        _finish(entry)
    if whole:
        # Until then it is not ours: a power cut leaves each setting to be taken back on its own.
        whole["after"] = _now(whole)
        _finish(whole)


def lines(command: str, path: Path, wanted: Mapping[str, str]) -> None:
    """Change lines ``NAME=...`` of a file, each noted on its own; the rest of it stays.

    :param wanted: whole lines, by their names.
    """
    changed = {name: line for name, line in wanted.items() if _line(path, name) != line}
    begun = [_begin(command, "line", f"{path}:{name}", line, ()) for name, line in changed.items()]
    # All at once: some of them alone may be what nobody could start with.
    if changed:
        _set_lines(path, changed)
    for entry in begun:
        _finish(entry)


def run(
    command: str, what: str, act: Sequence[str], undo: Sequence[str]
) -> "subprocess.CompletedProcess[str]":
    """Run a program whose effect another takes back; the caller knows that it is needed.

    :param undo: may be run where there is nothing to take back.
    """
    known = any((one["kind"], one["name"]) == ("run", what) for one in entries(command))
    entry = _begin(command, "run", what, list(act), [list(undo)])
    done = _run(act)
    if done.returncode and not known:
        _drop(entry)
    else:
        _finish(entry)
    return done


def enable(command: str, unit: str) -> None:
    """Have systemd start a unit at each boot; taken back, it runs, and starts, as it did before."""
    if _run(["systemctl", "is-enabled", unit]).stdout.strip() == "enabled":
        return
    now = [] if _run(["systemctl", "is-active", unit]).returncode == 0 else ["--now"]
    run(command, f"enable {unit}", ["systemctl", "enable", unit], ["systemctl", "disable", *now, unit])


def undo_run(command: str, what: str) -> None:
    """Take back what one program did, if it is noted."""
    for entry in entries(command):
        if (entry["kind"], entry["name"]) == ("run", what):
            _then(entry)
            _drop(entry)


def noted(command: str, path: Path) -> bool:
    """Whether a file was changed by a command, and that was not taken back."""
    return any(entry["kind"] == "file" and entry["name"] == str(path) for entry in entries(command))


def forget(command: str, path: Path) -> None:
    """It is as if a file had never been touched."""
    for entry in entries(command):
        if entry["name"] == str(path):
            _drop(entry)


def settle() -> None:
    """Finish or drop what a power cut has left begun."""
    for entry in entries():
        if entry["state"] != "begun":
            continue
        if entry["kind"] == "whole":
            # What it is once changed is not known.
            _drop(entry)
        elif entry["kind"] == "run":
            # Whether it came to pass is not known: taken back, it is certain. What was before stays.
            if entry.get("earlier") is None:
                _then(entry)
                _drop(entry)
            else:
                _finish(entry)
        elif _now(entry) == entry["after"]:
            _finish(entry)
        elif (earlier := entry.get("earlier")) is not None and _now(entry) == earlier:
            entry["after"] = earlier
            _finish(entry)
        else:
            if entry["kind"] == "file":
                files.partial(Path(entry["name"])).unlink(missing_ok=True)
                if entry["before"] is None:
                    _remove_folders(entry)
            _drop(entry)


def take_back(command: str, say: Callable[[str], None]) -> bool:
    """Undo what a command has changed, newest first, as far as it is still as that left it.

    :return: whether anything was.
    """
    settle()
    mine = entries(command)
    afterwards = _take_back_whole(mine)
    for entry in reversed(entries(command)):
        if entry["kind"] == "run":
            _then(entry)
        elif _now(entry) == entry["after"]:
            _restore(entry)
            afterwards += [step for step in entry["then"] if step not in afterwards]
        else:
            kept = FOLDER / entry["copy"] if entry.get("copy") else None
            aside = ""
            if kept and kept.exists():
                kept.rename(kept.with_name(f"kept-{kept.name}"))
                aside = f"; what was there before is in {kept.with_name(f'kept-{kept.name}')}"
            say(f"{entry['name']} was changed since: it stays as it is{aside}")
        if entry["kind"] == "file" and os.path.lexists(entry["name"]):
            # Before the note goes: it is none of an earlier version, which had no notes.
            text = json.dumps(sorted({*_theirs(), entry["name"]})) + "\n"
            files.write(FOLDER.with_name(_THEIRS), text, 0o600, os.getuid(), os.getgid())
        _drop(entry)
    for step in afterwards:
        _run(step)
    return bool(mine)


def _whole(command: str) -> "Entry | None":
    """The note of postfix's main.cf as it was before a command's first change of it; None where somebody has
    changed it since: then a copy would take that back, too."""
    mine = entries(command)
    if not any(entry["kind"] == "postconf" for entry in mine):
        return _begin(command, "whole", str(_MAIN), None, ())
    whole = next((entry for entry in mine if entry["kind"] == "whole"), None)
    if whole and _now(whole) != whole["after"]:
        _drop(whole)
        return None
    return whole


def _take_back_whole(mine: Sequence[Entry]) -> list[list[str]]:
    """Put a file back whole where nobody has changed it since, and with it all settings that it has.

    :return: what is to be run after that.
    """
    afterwards: list[list[str]] = []
    for whole in [entry for entry in mine if entry["kind"] == "whole"]:
        if whole["after"] and _now(whole) == whole["after"]:
            _restore(whole)
            for entry in [entry for entry in mine if entry["kind"] == "postconf"]:
                afterwards += [step for step in entry["then"] if step not in afterwards]
                _drop(entry)
        _drop(whole)
    return afterwards


def _begin(
    command: str, kind: str, name: str, after: Any, then: Sequence[Sequence[str]], **known: Any
) -> Entry:
    index = _read()
    folders = _folders(Path(name), index) if kind == "file" else []
    for entry in index:
        if (entry["command"], entry["kind"], entry["name"]) == (command, kind, name):
            if kind == "run" or _now(entry) == entry["after"] or entry["state"] == "begun":
                # Ours, changed once more: what was there before us stays what is taken back to.
                entry.update(earlier=entry["after"], after=after, state="begun", then=[list(s) for s in then])
                _write(index)
                return entry
            # Changed by somebody since: theirs is what comes back.
            index.remove(entry)
            break
    entry = {
        "id": max((entry["id"] for entry in index), default=0) + 1,
        "command": command,
        "kind": kind,
        "name": name,
        "after": after,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "state": "begun",
        "then": [list(step) for step in then],
    }
    if kind in ("file", "whole"):
        path = Path(name)
        if folders:
            entry["folders"] = folders
        source = known.get("source", path)
        entry["before"] = known["before"] if "before" in known else _look(source)
        if isinstance(entry["before"], dict) and "sha256" in entry["before"]:
            entry["copy"] = f"{entry['id']:04}-{path.name}"
            FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
            _copy(source, FOLDER / entry["copy"])
    else:
        before: Any = None
        if kind == "postconf":
            before = _postconf(name, set_only=True)
        elif kind == "line":
            before = _line(*_place(name))
        entry["before"] = before
    index.append(entry)
    _write(index)
    return entry


def _finish(entry: Entry) -> None:
    entry["state"] = "done"
    entry.pop("earlier", None)
    index = [entry if other["id"] == entry["id"] else other for other in _read()]
    _write(index)


def _drop(entry: Entry) -> None:
    _write([other for other in _read() if other["id"] != entry["id"]])
    if entry.get("copy"):
        (FOLDER / entry["copy"]).unlink(missing_ok=True)


def _then(entry: Entry) -> None:
    for step in entry["then"]:
        _run(step)


def _restore(entry: Entry) -> None:
    if entry["kind"] == "postconf":
        value = entry["before"]
        _run(
            ["postconf", "-X", entry["name"]]
            if value is None
            else ["postconf", "-e", f"{entry['name']}={value}"]
        )
        return
    if entry["kind"] == "line":
        path, name = _place(entry["name"])
        _set_lines(path, {name: entry["before"]})
        return
    path, before = Path(entry["name"]), entry["before"]
    if before is None:
        path.unlink(missing_ok=True)
        _remove_folders(entry)
    elif not path.parent.is_dir():
        # With the package that has it.
        return
    elif "link" in before:
        files.link(path, Path(before["link"]))
    else:
        partial = files.partial(path)
        _copy(FOLDER / entry["copy"], partial)
        os.chown(partial, before["uid"], before["gid"])
        partial.chmod(before["mode"])
        files.replace(partial, path)


def _folders(path: Path, index: Sequence[Entry]) -> list[str]:
    """Those that are made for a file, innermost first: with those that were made for others, which may go
    before it."""
    made = {folder for entry in index for folder in entry.get("folders", [])}
    return [str(folder) for folder in path.parents if str(folder) in made or not folder.exists()]


def _remove_folders(entry: Entry) -> None:
    """Those that were made for a file, and have nothing else in them."""
    earlier = [str(Path(entry["name"]).parent)] if "folder" in entry else []
    with suppress(OSError):
        for folder in entry.get("folders", earlier):
            with suppress(FileNotFoundError):
                Path(folder).rmdir()


def _now(entry: Entry) -> Any:
    """What is there at this moment, as ``after`` has it."""
    if entry["kind"] == "postconf":
        return _postconf(entry["name"])
    if entry["kind"] == "line":
        return _line(*_place(entry["name"]))
    return _known(_look(Path(entry["name"])))


def _known(found: "dict[str, Any] | None") -> "dict[str, Any] | None":
    """What of a file tells whose it is: its content, not its owner or mode."""
    return {"sha256": found["sha256"]} if found and "sha256" in found else found


def _look(path: Path) -> "dict[str, Any] | None":
    if not os.path.lexists(path):
        return None
    if path.is_symlink():
        return {"link": str(path.readlink())}
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    return {"sha256": _digest(path.read_bytes()), "mode": mode, "uid": status.st_uid, "gid": status.st_gid}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _postconf(name: str, *, set_only: bool = False) -> "str | None":
    """A setting of postfix's. :param set_only: None where main.cf does not name it."""
    if set_only and not any(line.startswith(f"{name} =") for line in _ask(["postconf", "-n"]).splitlines()):
        return None
    return _ask(["postconf", "-h", name]).removesuffix("\n")


def _ask(command: Sequence[str]) -> str:
    """What a program answers, without its complaints: postconf has some of a setting that is there twice."""
    return _run(command, complaints=subprocess.DEVNULL).stdout


def _place(name: str) -> tuple[Path, str]:
    path, _, key = name.rpartition(":")
    return Path(path), key


def _line(path: Path, name: str) -> "str | None":
    """The line of a file that sets a name: its last, which counts."""
    found = (
        re.findall(rf"(?m)^{re.escape(name)}=.*$", path.read_text(encoding="utf-8")) if path.exists() else []
    )
    return str(found[-1]) if found else None


def _set_lines(path: Path, wanted: "Mapping[str, str | None]") -> None:
    """:param wanted: whole lines, by their names; None takes one away."""
    if not path.exists():
        return
    status = path.stat()
    text = path.read_text(encoding="utf-8")
    for name, line in wanted.items():
        text = re.sub(rf"(?m)^{re.escape(name)}=.*\n?", "", text)
        if line is not None:
            text = text + ("" if not text or text.endswith("\n") else "\n") + line + "\n"
    files.write(path.resolve(), text, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def _copy(source: Path, target: Path) -> None:
    """Into a file of root's alone, seen onto the disk."""
    target.unlink(missing_ok=True)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(source.read_bytes())
        file.flush()
        files.sync(file)


def _read() -> list[Entry]:
    try:
        found: list[Entry] = json.loads((FOLDER / _INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError:
        raise OSError(errno.EIO, "it is damaged", str(FOLDER / _INDEX)) from None
    return found


def _theirs() -> set[str]:
    try:
        return set(json.loads(FOLDER.with_name(_THEIRS).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return set()


def _write(index: list[Entry]) -> None:
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(FOLDER / _INDEX, json.dumps(index, indent=1) + "\n", 0o600, os.getuid(), os.getgid())


def _run(
    command: Sequence[str], *, check: bool = False, complaints: int = subprocess.STDOUT
) -> "subprocess.CompletedProcess[str]":
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            start_new_session=signals.apart(),
            env=_ENVIRONMENT,
        )
    except FileNotFoundError:
        done = subprocess.CompletedProcess(list(command), 127, f"{command[0]}: not found\n")
    if check and done.returncode:
        raise OSError(done.returncode, done.stdout.strip()[:200], command[0])
    return done


def main() -> None:
    """Take everything back: the package's postrm, at purge, before it deletes the folder."""

    def say(text: str) -> None:
        print(f"microblog: {text}", file=sys.stderr)

    if not FOLDER.is_dir():
        return
    try:
        for command in dict.fromkeys(entry["command"] for entry in reversed(entries())):
            with suppress(OSError):
                take_back(command, say)
    except OSError as error:
        say(str(error))
    # What was somebody's, and found no place to come back to, outlasts the folder.
    for path in sorted(FOLDER.iterdir()):
        if re.match(r"(kept-)?\d+-", path.name):
            KEPT.mkdir(mode=0o700, parents=True, exist_ok=True)
            places = (
                KEPT / f"{path.name}{end}" for end in ("", *(f".{number}" for number in range(2, 1000)))
            )
            place = next(place for place in places if not place.exists())
            _copy(path, place)
            say(f"{path} is somebody's: it is kept as {place}")


if __name__ == "__main__":
    main()
