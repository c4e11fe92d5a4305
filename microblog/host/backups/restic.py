"""restic, the program: each call is one function here, each of its complaints one line.

It encrypts, stores what is there already once, and speaks to the places (https://restic.net). What it
is told of secrets is in its environment, which root alone may read; nothing is on a command line.
Held to 0.12 (Ubuntu 22.04) and newer: from 0.17 on some failures have exit codes of their own, before
they are told by their words.
"""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from microblog.errors import HostError
from microblog.host.backups import places
from microblog.host.backups.places import Access, Opened, Place
from microblog.host.site import secrets
from microblog.printable import visible

_CACHE = Path("/var/cache/microblog/restic")
_MEMBER = "microblog.tar"
# What of our own environment is for it.
_PASSED = ("AWS_DEFAULT_REGION", "RCLONE_CONFIG")
_TAG = "microblog"
_PIECE = 2**20
# What stays: of seven days, four weeks and twelve months the last one each.
_KEPT = ("--keep-daily", "7", "--keep-weekly", "4", "--keep-monthly", "12")
_MISSING_CODE = 10
_NO_SESSION = "unable to start the sftp session"
# To let go of its lock.
_END_SECONDS = 30
# Were we to end, it would go on alone.
_LEASH = ("setpriv", "--pdeathsig", "KILL")
# Ours are closed before it hears of our end: it may have stored half a backup by then, whose input has ended
# as a whole one's does. So that does not end with us, but with somebody who has it open, too, and waits for
# a word: without it, all here are killed first.
_KEEPER = """
(
    trap '' HUP INT TERM
    read -r _ <&{0} || kill -KILL 0
) > /dev/null 2>&1 &
exec {0}<&- {1}>&-
exec "$@"
"""
_WHOLE = b"whole\n"
# What it lists was written by whoever has written to the repository. As it names snapshots; times that every
# form of a date can say, and a clock may have had, however wrong; more than a disk holds.
_ID = re.compile("[0-9a-f]{64}")
_TIME_MAX = 2**32
_SIZE_MAX = 2**50
_HOST_MAX = 60
# All of an answer, and a line of it.
_HEARD_MAX = 16 * 2**20
_LINE_MAX = 2**16


class Missing(HostError):
    """There is no repository at the place."""


class WrongKey(HostError):
    """There is one, of another key."""


class Full(HostError):
    """The place has no room."""


class _EndedError(Exception):
    """It has ended while it was written to, and says why."""


@dataclass(frozen=True)
class Snapshot:
    """:ivar when: it was made, in seconds since 1970.

    :ivar host: the machine's name that made it.
    :ivar size: of its content, in bytes.
    """

    id: str
    when: float
    host: str
    size: int = 0

    def made(self) -> str:
        """When, for people."""
        return f"{datetime.fromtimestamp(self.when, timezone.utc):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Complaint:
    """:ivar words: by which it is known.

    :ivar hint: the way out; empty: the place's own.
    """

    words: re.Pattern[str]
    message: str
    hint: str
    kind: type[HostError] = HostError


def _complaint(words: str, message: str, hint: str, kind: type[HostError] = HostError) -> Complaint:
    return Complaint(re.compile(words, re.IGNORECASE), message, hint, kind)


# The first that fits is told.
_COMPLAINTS = (
    _complaint(
        "wrong password or no key found",
        "the key is not that of the repository at {place}",
        "type the words of that repository's recovery sheet",
        WrongKey,
    ),
    _complaint(
        "(^|\n)mount: ", "{place} cannot be mounted", "dmesg says why; mend the disk, or format it anew"
    ),
    _complaint(
        "host key verification failed|host identification has changed",
        "{place} is not the machine that it was: its SSH key is another",
        "if you know why: rm {known}, and try again",
    ),
    _complaint(
        r"no space left|disk quota|quota exceeded|not enough space|insufficient storage|sftp: \"failure\"",
        "{place} is full",
        "make room there; what is there already is whole",
        Full,
    ),
    _complaint(
        r"permission denied|access ?denied|forbidden|signaturedoesnotmatch|invalidaccesskeyid|not authorized",
        "{place} does not let this machine in",
        "",
    ),
    _complaint(
        r"connection refused|no such host|could not resolve|name or service not known|no route to host"
        r"|network is unreachable|timed? ?out|unable to start the sftp session|connection (reset|closed)",
        "{place} cannot be reached: {why}",
        "see that it runs, and that the network is up",
    ),
    _complaint(
        "input/output error|read-only file system|transport endpoint|no such device|stale file handle"
        "|structure needs cleaning|ssh command exited|connection lost",
        "{place} has gone while it was used",
        "see that it is plugged in, or reached, and try again; what is there already is whole",
    ),
    _complaint(
        "already locked",
        "another program is working on the repository at {place}",
        "try again when it is done",
    ),
    _complaint(
        r"ciphertext verification failed|hash mismatch|does not match id|repository contains errors"
        r"|invalid data|unexpected eof|not found in (index|repository)"
        r"|(load|read).*: (no such file|invalid|file does not)|unable to load|integrity"
        r"|pack .* (is )?(damaged|truncated)|does not exist|doesn't exist|invalid entry"
        r"|not referenced in any index|unable to open repository|illegal",
        "the repository at {place} is damaged",
        "begin another one elsewhere: microblog backup --to; look at its disk",
    ),
)
_MISSING = re.compile(
    r"(config file|<config/>|repository does not exist|is there a repository).*", re.IGNORECASE | re.DOTALL
)
_NOWHERE = re.compile(
    r"no such file|(does not|doesn't) exist|not found|nosuchkey|nosuchbucket|specified (key|bucket)",
    re.IGNORECASE,
)


# What it would try again for a quarter of an hour, though a disk that was pulled does not come back.
_HOPELESS = re.compile(
    b"retrying.*(input/output error|read-only file system|no such device|transport endpoint|stale file)"
)


class Repository:
    """One at an opened place, with its key. restic must be installed."""

    def __init__(self, place: Place, opened: Opened, access: Access) -> None:
        self._place, self._opened, self._access = place, opened, access

    def exists(self) -> bool:
        """:raises HostError: if that cannot be told, or the key is another's."""
        try:
            self._run("cat", "config")
        except Missing:
            return False
        return True

    def make(self) -> None:
        """Begin one."""
        self._run("init")

    def save(self, feed: Callable[[Callable[[bytes], object]], None]) -> str:
        """Store what a function writes, as one snapshot.

        :param feed: is given a function that takes bytes; if it raises, nothing is stored.
        :return: the beginning of the snapshot's id.
        :raises HostError: as told by restic.
        """
        command = ("backup", "--json", "--tag", _TAG, "--stdin", "--stdin-filename", _MEMBER)
        data, fed = os.pipe()
        told, tell = os.pipe()
        with os.fdopen(tell, "wb", buffering=0) as telling:
            # That it breaks may come with its closing.
            feeding = os.fdopen(fed, "wb")

            def write(data: bytes) -> None:
                # Of any other pipe that breaks it knows nothing, and would be waited for without end.
                try:
                    feeding.write(data)
                except BrokenPipeError:
                    raise _EndedError from None

            try:
                process = self._start(*command, stdin=data, kept=(told, fed))
            finally:
                os.close(data)
                os.close(told)
            heard = _Ears(process)
            try:
                feed(write)
                with suppress(BrokenPipeError):
                    feeding.flush()
                    telling.write(_WHOLE)
            except _EndedError:
                pass
            except BaseException:
                # Were its input merely to end, it would store half a backup as a whole one.
                os.killpg(process.pid, signal.SIGINT)
                try:
                    process.wait(_END_SECONDS)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                raise
            finally:
                with suppress(BrokenPipeError):
                    feeding.close()
            code = process.wait()
        output, errors = heard.all()
        if code:
            raise self._failed(code, f"{errors}\n{output.decode(errors='replace')}")
        return _stored(output)

    def snapshots(self) -> list[Snapshot]:
        """Microblog's, oldest first.

        :raises HostError: something is among them that nobody can have made.
        """
        with self._reading():
            return _snapshots(self._run("snapshots", "--json", "--tag", _TAG))

    def sized(self) -> list[Snapshot]:
        """:meth:`snapshots`, each with its size."""
        with self._reading():
            # One question for all of them; newer versions than those held to would know without.
            sizes = _sizes(self._run("find", "--json", "--tag", _TAG, f"/{_MEMBER}"))
        return [replace(one, size=sizes[one.id]) for one in self.snapshots() if one.id in sizes]

    def size(self, snapshot: str) -> int:
        """How long a snapshot's content is, in bytes."""
        with self._reading():
            size = _size(self._run("ls", "--json", snapshot))
        if size is None:
            raise HostError(
                f"the snapshot {snapshot[:8]} at {self._place.address} is none of Microblog's",
                "take another one",
            )
        return size

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What restic lists is read within, and is not believed.

        :raises HostError: a ValueError is one.
        """
        try:
            yield
        # Brackets by the thousand are too deep for it.
        except (ValueError, RecursionError) as error:
            why = visible(str(error))[:100] if type(error) is ValueError else "it is no list"
            raise HostError(
                f"what the repository at {self._place.address} holds cannot be: {why}",
                "take another repository; or, with its key: restic forget",
            ) from None

    def load(self, snapshot: str, take: Callable[[bytes], None]) -> None:
        """Give a function all of a snapshot's content.

        :raises HostError: if the repository is damaged, or gone; what was given is not whole then.
        """
        process = self._start("dump", snapshot, f"/{_MEMBER}")
        assert process.stdout  # noqa: S101
        heard = _Ears(process, output=False)
        try:
            while data := process.stdout.read(_PIECE):
                take(data)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if code := process.wait():
            raise self._failed(code, heard.all()[1])

    def forget(self) -> None:
        """Let go of the snapshots that the rule does not keep; their room is given back by :meth:`tidy`."""
        # Of a machine that was switched off meanwhile.
        self._run("unlock")
        # Not by the machine's name: a site that has moved goes on with its own.
        self._run("forget", "--tag", _TAG, "--group-by", "tags", *_KEPT)

    def tidy(self) -> None:
        """Give back the room of what was let go, and see that all that is referred to is there."""
        self._run("unlock")
        self._run("prune", "--max-unused", "10%")
        self._run("check")

    def _run(self, *command: str) -> str:
        """:raises ValueError: what it says has no end."""
        process = self._start(*command)
        heard = _Ears(process, whole=True)
        code = process.wait()
        output, errors = heard.all()
        if heard.endless:
            raise ValueError("there is too much of it")
        text = output.decode(errors="replace")
        if code:
            raise self._failed(code, f"{errors}\n{text}")
        return text

    def _start(
        self, *command: str, stdin: int = subprocess.DEVNULL, kept: "tuple[int, int] | None" = None
    ) -> "subprocess.Popen[bytes]":
        """:param kept: as the pipes of :data:`_KEEPER`."""
        _CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
        within = self._opened.within
        options = [part for option in self._opened.options for part in ("-o", option)]
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "RESTIC_REPOSITORY": self._opened.location,
            "RESTIC_PASSWORD": self._access.key,
            "RESTIC_CACHE_DIR": str(_CACHE),
            # A small machine's memory: it is slower by a little.
            "GOGC": "20",
            **{name: value for name, value in os.environ.items() if name in _PASSED},
            **self._access.secrets,
        }
        try:
            return subprocess.Popen(
                [
                    *(("bash", "-c", _KEEPER.format(*kept), "bash") if kept else ()),
                    *(_LEASH if within else ()),
                    *within,
                    *_LEASH,
                    "restic",
                    "--cleanup-cache",
                    *options,
                    *command,
                ],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=kept or (),
                env=environment,
                # Ctrl-C is ours to hear: it lets go of its lock when it is told to end.
                start_new_session=True,
            )
        except FileNotFoundError:
            raise HostError("setpriv is not installed", "apt-get install util-linux") from None

    def _failed(self, code: int, said: str) -> HostError:
        if _NO_SESSION in said:
            said = f"{said}\n{self._place.why()}"
        typed = (self._access.key, *self._access.secrets.values())
        return judge(code, secrets.without(said, typed, "***"), self._place)


def judge(code: int, said: str, place: Place) -> HostError:
    """What restic's last words mean, for the owner."""
    address = place.address
    locations = re.compile(rf"{re.escape(address)}|Is there a repository.*", re.DOTALL)
    why = ""
    for complaint in _COMPLAINTS[:-1]:
        if found := complaint.words.search(locations.sub("", said)):
            why = found[0]
            break
    else:
        complaint = _COMPLAINTS[-1]
        missing = _MISSING.search(said)
        if code == _MISSING_CODE or (missing and _NOWHERE.search(said)):
            return Missing(f"there is no repository at {address}", "see that the address is right")
        if not complaint.words.search(said):
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            last = next(
                (line for line in lines if line.startswith("Fatal:")), (lines or ["it is silent"])[-1]
            )
            last = visible(last)[:200]
            return HostError(f"restic has failed at {address}: {last}", "mend that, and try again")
    hint = complaint.hint.format(known=places.FOLDER / "known_hosts") or place.way_in()
    return complaint.kind(complaint.message.format(place=address, why=why), hint)


class _Ears:
    """Hears both of a program's voices at once: neither fills up while the other is listened to. Of one that
    says more than anybody could want to hear, its last words are kept.

    :param output: listen to it; else somebody else does.
    :param whole: its output is of use as a whole alone: one that has no end is ended.
    :ivar endless: that was done.
    """

    endless = False

    def __init__(
        self, process: "subprocess.Popen[bytes]", *, output: bool = True, whole: bool = False
    ) -> None:
        self._process, self._whole = process, whole
        voices: Iterable[IO[bytes] | None] = (process.stdout if output else None, process.stderr)
        self._heard = [bytearray(), bytearray()]
        self._threads = [
            threading.Thread(target=self._hear, args=(number, voice), daemon=True)
            for number, voice in enumerate(voices)
            if voice
        ]
        for thread in self._threads:
            thread.start()

    def _hear(self, number: int, voice: IO[bytes]) -> None:
        heard = self._heard[number]
        while line := voice.readline(_LINE_MAX):
            heard += line
            if len(heard) > _HEARD_MAX:
                del heard[: _HEARD_MAX // 2]
                self.endless = self.endless or (self._whole and not number)
            if self.endless or (number and _HOPELESS.search(line)):
                # It may have ended by itself.
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def all(self) -> tuple[bytes, str]:
        for thread in self._threads:
            thread.join()
        return bytes(self._heard[0]), self._heard[1].decode(errors="replace")


def _stored(output: bytes) -> str:
    """The beginning of the snapshot's id, out of the summary that a backup ends with; empty without."""
    for line in reversed(output.decode(errors="replace").splitlines()):
        try:
            entry = _object(json.loads(line))
        except (ValueError, RecursionError):
            continue
        if entry.get("message_type") == "summary":
            found = entry.get("snapshot_id")
            return found if isinstance(found, str) and re.fullmatch("[0-9a-f]{8,64}", found) else ""
    return ""


def _snapshots(said: str) -> list[Snapshot]:
    """Out of ``restic snapshots --json``, oldest first.

    :raises ValueError: it cannot be so.
    """
    every = []
    for one in _objects(said):
        host = one.get("hostname", "")
        if not isinstance(host, str):
            raise ValueError(f"a machine named {host!r}")
        every.append(Snapshot(_id(one.get("id")), _when(one.get("time")), visible(host)[:_HOST_MAX]))
    return sorted(every, key=lambda one: one.when)


def _sizes(said: str) -> dict[str, int]:
    """Out of ``restic find --json``: of the contents, by their snapshots."""
    sizes: dict[str, int] = {}
    for one in _objects(said):
        matches = one.get("matches")
        if not isinstance(matches, list) or len(matches) > 1:
            raise ValueError("a snapshot with more than one backup in it")
        sizes |= {_id(one.get("snapshot")): _bytes(_object(match)) for match in matches}
    return sizes


def _size(said: str) -> int | None:
    """Out of ``restic ls --json``, an object a line: of the content; None where there is none of ours."""
    for line in said.splitlines():
        entry = _object(json.loads(line))
        if entry.get("path") == f"/{_MEMBER}":
            return _bytes(entry)
    return None


def _objects(said: str) -> list[dict[str, Any]]:
    found = json.loads(said or "null") or []
    if not isinstance(found, list):
        raise ValueError("it is no list")
    return list(map(_object, found))


def _object(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError("it is no list of objects")
    return found


def _id(found: Any) -> str:
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise ValueError(f"a snapshot called {str(found)[:70]}")
    return found


def _bytes(entry: Mapping[str, Any]) -> int:
    # What is empty has no size.
    size = entry.get("size", 0)
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _SIZE_MAX:
        raise ValueError("a backup of a size that none has")
    return size


def _when(found: Any) -> float:
    """restic's time, whose fraction has nine digits, in seconds since 1970."""
    try:
        told = datetime.fromisoformat(re.sub(r"\.\d+", "", found).replace("Z", "+00:00"))
        when = told.timestamp() if told.tzinfo else -1.0
    except (TypeError, ValueError, OverflowError):
        when = -1.0
    if not 0 <= when <= _TIME_MAX:
        raise ValueError(f"a backup of the time {str(found)[:40]}")
    return when
