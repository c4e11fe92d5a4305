"""supervisor: the program's link, and the program itself."""

import configparser
import http.client
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from microblog import proof, renewing
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.machine import layout, ledger, services

# Seconds in which who is not ready is asked again, before somebody is told.
PATIENCE = 10.0
UNIT = "supervisor.service"
# What supervisor calls the application; the Flask Mega-Tutorial has its readers call theirs so, too.
PROGRAM = layout.USER
_PROGRAM = layout.ETC / "supervisor.conf"
_SETTINGS = Path("/etc/supervisor/conf.d")
_LINK = _SETTINGS / "microblog.conf"
_LOG = layout.LOGS / "gunicorn.log"
_COMMAND = "supervisor"
_ANSWER_SECONDS = 300
_LOOK_EVERY_SECONDS = 5.0
# One that answers that it is not well may still be connecting to its database.
_UNWELL_SECONDS = 30
# What it is given to end, and some more (stopwaitsecs).
_END_SECONDS = 70
_ANEW_SECONDS = 5
# Made by the package's scripts: the program runs with what an upgrade has since replaced.
_RENEWED = layout.RUN / "restart"
# Beside the statuses that HTTP knows.
_NOT_OURS, _UNKNOWN = -1, -2
_BROKEN = 500


def ensure() -> bool:
    """Make the program known to supervisor, once; afterwards it is the administrator's to take away.

    :return: whether it was not.
    :raises HostError: somebody else's program has the name.
    """
    _refuse_theirs()
    if _linked():
        ledger.adopt(_COMMAND, _LINK)
        return False
    if switched_off():
        return False
    ledger.link(_COMMAND, _LINK, _PROGRAM)
    return True


def _linked() -> bool:
    """Whether supervisor's link is ours; somebody's own may be a link, too."""
    return _LINK.is_symlink() and _LINK.resolve() == _PROGRAM


def theirs() -> Path | None:
    """The file by which supervisor knows another program by our program's name, if there is one."""
    if _linked():
        return None
    if os.path.lexists(_LINK):
        return _LINK
    return next((path for name, path, _ in other_programs() if name == PROGRAM), None)


def _refuse_theirs() -> None:
    if path := theirs():
        raise HostError(
            f"{path} is somebody else's: supervisor has a program of this name already",
            "give that program another name, or retire it; then: microblog setup",
        )


def other_programs() -> Iterator[tuple[str, Path, dict[str, str]]]:
    """supervisor's programs that are not ours: each one's name, its file and its settings."""
    for path in sorted(_SETTINGS.glob("*.conf")):
        parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(" ;", "\t;"))
        try:
            if path.resolve() == _PROGRAM:
                continue
            parser.read_string(path.read_text(encoding="utf-8", errors="replace"))
        except (OSError, configparser.Error):
            continue
        for section in parser.sections():
            if section.startswith("program:"):
                yield section.removeprefix("program:").strip(), path, dict(parser[section])


def switched_off() -> bool:
    """Whether the program was known, and the machine's administrator has taken its link away."""
    return not os.path.lexists(_LINK) and ledger.noted(_COMMAND, _LINK)


def switch_on() -> None:
    """Have the next :func:`ensure` link the program again."""
    ledger.forget(_COMMAND, _LINK)


def known() -> bool:
    """Whether supervisor has a program of this name, whosever it is."""
    return os.path.lexists(_LINK)


def is_new() -> bool:
    """Whether setup has never come here as far as this."""
    return not known() and not switched_off()


def program_state() -> str:
    """``RUNNING``, ``STOPPED``, ``FATAL`` ... as supervisor calls it; ``UNKNOWN`` if it does not know."""
    if theirs():
        return "UNKNOWN"
    words = services.run("supervisorctl", "status", PROGRAM).stdout.split()
    return words[1] if len(words) > 1 and words[0] == PROGRAM else "UNKNOWN"


def apply() -> None:
    """Have the program run, with the settings as they are now.

    :raises HostError: if supervisor, or the program, does not start.
    """
    _refuse_theirs()
    if services.start(UNIT):
        services.wait_for(lambda: services.run("supervisorctl", "pid").returncode == 0)
    if program_state() in ("RUNNING", "STARTING"):
        newer = settings_are_newer()
        if not renewed() and not newer:
            return
        # Where it listens, and much else, is settled when it starts.
        if newer or not _begin_anew():
            services.run("supervisorctl", "stop", PROGRAM)
    _RENEWED.unlink(missing_ok=True)
    services.run("supervisorctl", "update", PROGRAM)
    if program_state() in ("RUNNING", "STARTING"):
        return
    done = services.run("supervisorctl", "start", PROGRAM)
    if done.returncode and program_state() != "RUNNING":
        raise _failed()


def _begin_anew() -> bool:
    """Have the program load itself anew, its socket open all the while: whoever comes waits, and is answered.

    :return: whether it has; a version from before 0.2 only thinks so.
    """
    pid = services.run("supervisorctl", "pid", PROGRAM).stdout.strip()
    if not pid.isdigit():
        return False
    before, workers = _count(pid), set(running()) - {int(pid)}
    with suppress(OSError):
        os.kill(int(pid), signal.SIGHUP)
    services.wait_for(lambda: _count(pid) != before or not workers & set(running()), _END_SECONDS)
    # They end a moment before it begins.
    return services.wait_for(lambda: _count(pid) != before, _ANEW_SECONDS) and _count(pid) is not None


def _count(pid: str) -> "bytes | None":
    """How often a process has begun anew; None where there is none."""
    try:
        lines = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((line for line in lines if line.startswith(f"{renewing.COUNT}=".encode())), b"")


def renewed() -> bool:
    """Whether an upgrade has replaced what the program runs with, and it was not started since."""
    return _RENEWED.exists()


def settings_are_newer() -> bool:
    """Whether the environment file was written since the program began."""
    pid = services.run("supervisorctl", "pid", PROGRAM).stdout.strip()
    try:
        # proc(5): the start, in ticks since the boot, is field 22; names may hold spaces.
        fields = Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()
        up = float(Path("/proc/uptime").read_text().split()[0])
        age = up - int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.time() - age < layout.env_file().stat().st_mtime
    except (OSError, ValueError, IndexError):
        return False


def stop() -> None:
    """Have the program end; it lets requests under way finish first.

    :raises HostError: it still runs: what happens to its database must not go on under it.
    """
    if not theirs():
        services.run("supervisorctl", "stop", PROGRAM)
    if not services.wait_for(lambda: not running(), _END_SECONDS):
        pids = ", ".join(map(str, running()))
        raise HostError(
            f"the application still runs (process {pids}), though supervisor was told to stop it",
            "supervisorctl stop microblog, or kill it; then try again",
        )


def running() -> list[int]:
    """The application's processes, whoever has started them (proc(5))."""
    uid, _ = layout.user_ids()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if folder.stat().st_uid == uid and b"microblog:create_app()" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def resume() -> None:
    """Have the program run again where it was stopped for something that came to nothing."""
    if not switched_off() and not theirs():
        with suppress(HostError):
            apply()


def restart() -> None:
    """Have the program begin anew, with the settings as they are now.

    :raises HostError: if it does not start.
    """
    stop()
    apply()


def disable() -> None:
    """Have the program end and stay so, across boots too, until :func:`ensure`."""
    stop()
    ours = not theirs()
    if _linked():
        _LINK.unlink()
    switch_on()
    if ours:
        services.run("supervisorctl", "update", PROGRAM)


def leave(say: Callable[[str], None]) -> None:
    """As if it had never been known here."""
    disable()
    ledger.take_back(_COMMAND, say)


def wait_for_answer(say: Callable[[str], None]) -> None:
    """Wait until the application answers and reaches its database.

    :raises HostError: if it gives up, or does not answer in time.
    """
    deadline = time.monotonic() + _ANSWER_SECONDS
    look = time.monotonic() + _LOOK_EVERY_SECONDS
    unwell_since = 0.0
    waiting = False
    while (code := _health()) != http.client.OK:
        if not waiting:
            say("Waiting for the application to answer ...")
            waiting = True
        now = time.monotonic()
        if now > look:
            look = now + _LOOK_EVERY_SECONDS
            if program_state() == "FATAL":
                raise _failed()
        if not code:
            unwell_since = 0.0
        elif now - (unwell_since := unwell_since or now) > _UNWELL_SECONDS:
            if code == _NOT_OURS:
                raise HostError(
                    f"another program answers at {layout.app_address()}, in the application's place",
                    "stop it, or set another BIND; then: microblog setup",
                )
            raise HostError(
                f"the application is not well: it answers {code}", f"see {_LOG}; then: microblog setup"
            )
        if now > deadline:
            raise _failed()
        time.sleep(0.1)


def answers(patience: float = 0) -> bool:
    """Whether the application answers, and its database answers it.

    :param patience: seconds in which it is asked again where it is not ready: while its database comes back,
        or where there is much to do, one of its processes is ready before another.
    """
    deadline = time.monotonic() + patience
    while (status := _health()) == http.client.SERVICE_UNAVAILABLE and time.monotonic() < deadline:
        time.sleep(0.5)
    return status == http.client.OK


def impostor() -> bool:
    """Whether somebody answers in the application's place, who does not know the site's key."""
    return _health() == _NOT_OURS


class _Connection(http.client.HTTPConnection):
    """To where the application is, a Unix socket among others."""

    def __init__(self, address: str) -> None:
        self.path = address.removeprefix("unix:") if address.startswith("unix:") else ""
        host, _, port = "localhost:80".rpartition(":") if self.path else address.rpartition(":")
        super().__init__(host.strip("[]"), int(port), timeout=10)

    def connect(self) -> None:
        if not self.path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(self.path)


def _health() -> int:
    """The status of its health check; 0 where nobody answers, :data:`_NOT_OURS` where a stranger does."""
    status = _ask("/readyz")
    # A version from before 0.2 knows the other one alone.
    return _ask("/healthz") if status == _UNKNOWN else status


def _ask(path: str) -> int:
    connection = _Connection(layout.app_address())
    question = secrets.token_hex(16)
    try:
        connection.request("GET", path, headers={"Host": "localhost", proof.HEADER: question})
        response = connection.getresponse()
        if response.status == http.client.NOT_FOUND:
            return _UNKNOWN if path == "/readyz" else _NOT_OURS
        key, said = _key(), response.headers.get(proof.HEADER, "")
        # One that is broken may prove nothing any more.
        if key and not proof.holds(key, question, said) and response.status < _BROKEN:
            return _NOT_OURS
        return response.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _key() -> str:
    """The site's key; empty for who may not read it, and has to believe."""
    try:
        return Config.load(layout.env_file()).secret_key
    except HostError:
        return ""


def _failed() -> HostError:
    if _linked() and program_state() == "UNKNOWN":
        # Somebody's own configuration may read other files.
        return HostError(
            f"supervisor does not know the program {PROGRAM}",
            f"[include] in its supervisord.conf has to have {_SETTINGS}/*.conf; then: microblog setup",
        )
    return HostError("the application does not start", f"see {_LOG}; then: microblog setup")
