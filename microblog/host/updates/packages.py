"""apt and dpkg: what an update would change, changing it, and the packages that were there before."""

import fcntl
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import md5
from pathlib import Path
from urllib.parse import quote

from microblog.errors import HostError
from microblog.host.machine import files, layout, signals
from microblog.host.updates import journal
from microblog.host.updates.journal import Change

LOG = layout.LOGS / "update.log"
# Then it is begun anew, and the one before kept.
_LOG_BYTES = 2**20
OURS = "microblog"
# What the site stands on, as far as it can be put back by itself.
CONCERN = re.compile(
    r"(microblog|(lib)?nginx|mariadb|mysql|default-mysql|galera|supervisor|gunicorn|python3-)([-.0-9].*)?|python3-.*"
)
_DATABASE = re.compile(r"(mariadb|mysql|galera|default-mysql)(-.*)?")
# apt-get(8), --simulate: Inst NAME [OLD] (NEW ORIGIN [ARCH]) ...
_INST = re.compile(
    r"^Inst (?P<name>\S+) (?:\[(?P<old>[^\]]+)\] )?\((?P<new>\S+) (?P<origin>.*?)(?: \[\S+\])?\)"
)
_REMV = re.compile(r"^Remv (\S+)")
# Whose configuration files somebody has changed keeps them; a dialogue would wait for ever.
_KEEP = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
_LOCKED = ("-o", "DPkg::Lock::Timeout=600")
# Ubuntu's needrestart would restart services, the site among them, or ask; apt-listchanges shows a pager.
_QUIET = {
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_SUSPEND": "1",
    "APT_LISTCHANGES_FRONTEND": "none",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
}
_ARCHIVES = Path("/var/cache/apt/archives")
_INFO = Path("/var/lib/dpkg/info")
_FRONTEND_LOCK = Path("/var/lib/dpkg/lock-frontend")
# apt is never offered again what has been taken back; the version after it is (apt_preferences(5)).
PINS = Path("/etc/apt/preferences.d/microblog-taken-back")


def refresh() -> list[str]:
    """Bring apt's lists up to date.

    :return: what apt warns of: a repository that could not be reached, for one, which may be somebody else's.
    :raises HostError: a repository is not to be trusted, or apt cannot.
    """
    done = _run("apt-get", "--quiet", "update", *_LOCKED)
    if done.returncode:
        raise HostError(
            f"apt's lists could not be brought up to date: {_error(done.stdout)}", "apt-get update"
        )
    return [line.removeprefix("W:").strip() for line in done.stdout.splitlines() if line.startswith("W:")]


def changes(*, everything: bool) -> list[Change]:
    """What an update would change, by the lists that apt has.

    :param everything: not only the site's own package and what it needs.
    :raises HostError: apt cannot, or would remove something for it.
    """
    return simulated(*_wanted(everything))


def _wanted(everything: bool) -> tuple[str, ...]:
    return ("upgrade", "--with-new-pkgs") if everything else ("install", "--only-upgrade", OURS)


def simulated(*command: str) -> list[Change]:
    """:raises HostError: apt cannot do that, or would remove something for it."""
    done = _run("apt-get", "--simulate", "--quiet", *_KEEP, *command)
    if done.returncode:
        raise HostError(
            f"apt cannot update: {_error(done.stdout)}", "apt-get --fix-broken install; then try again"
        )
    lines = done.stdout.splitlines()
    if gone := [match[1] for line in lines if (match := _REMV.match(line))]:
        raise HostError(
            f"for the update apt would remove {', '.join(gone)}", "apt-get install microblog asks"
        )
    return [
        Change(match["name"], match["old"] or "", match["new"], match["origin"])
        for line in lines
        if (match := _INST.match(line))
    ]


def automatic(found: Sequence[Change]) -> list[str]:
    """Those that are there for others' sake, and go with them; a package that comes new is."""
    known = _run("apt-mark", "showauto", *[change.name for change in found if change.old]).stdout.split()
    return [*known, *(change.name for change in found if not change.old)]


def fetch(wanted: Sequence[Change]) -> None:
    """Download, before anything is changed.

    :raises HostError: it cannot be, for want of a network or of room.
    """
    done = _run("apt-get", "--yes", "--quiet", "--download-only", *_LOCKED, "install", *_exactly(wanted))
    if done.returncode:
        held = "Held packages were changed" in done.stdout
        raise HostError(
            f"the update could not be downloaded: {_error(done.stdout)}",
            "somebody holds one of them: apt-mark showhold, apt-mark unhold"
            if held
            else "mend that, then try again",
        )


def size(found: Sequence[Change]) -> int:
    """How much their packages hold, as installed, in bytes."""
    return sum(int(_query("${Installed-Size}", change.name) or 0) for change in found) * 1024


def complete() -> None:
    """What dpkg has begun and not ended."""
    _run("dpkg", "--configure", "--pending", "--force-confdef", "--force-confold")


def install(wanted: Sequence[Change], automatic: Sequence[str], heard: Callable[[str], None]) -> str:
    """Complete what dpkg has begun, and bring packages to the versions wanted.

    :param automatic: as :func:`automatic` has said before.
    :param heard: is told each line that apt says.
    :return: why that failed; empty if it did not.
    """
    complete()
    done = _run(
        *("apt-get", "--yes", "--quiet", "--no-remove", *_LOCKED, *_KEEP, "install", *_exactly(wanted)),
        heard=heard,
    )
    # To apt, what is named is wanted for its own sake.
    if automatic:
        _run("apt-mark", "auto", *automatic)
    if not done.returncode:
        return ""
    # The site's own word says more than apt's.
    own = [
        line.removeprefix("microblog: ")
        for line in done.stdout.splitlines()
        if line.startswith("microblog: ")
    ]
    # What follows in it is true until the way back has begun.
    return own[-1].partition("; the data are as they were")[0] if own else _error(done.stdout)


def _exactly(wanted: Sequence[Change]) -> list[str]:
    return [f"{change.name}={change.new}" for change in wanted]


def installed(name: str) -> str:
    """The version of a package that is, or is half, installed; empty if none."""
    return _query("${Version}", name)


def whole(name: str) -> bool:
    """Whether dpkg has nothing left to do for it."""
    return _query("${db:Status-Abbrev}", name).split() == ["ii"]


def concerns_database(found: Sequence[Change]) -> bool:
    """Whether data change with it: the site's schema, or the server that keeps them."""
    return any(change.name == OURS or _DATABASE.fullmatch(change.name) for change in found)


def keep(found: Sequence[Change], folder: Path) -> None:
    """Keep the packages that are installed: apt's own file, or one packed again of what is there.

    :raises OSError: there is no room.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    for change in found:
        if not change.old:
            continue
        name, architecture = change.name.partition(":")[0], _query("${Architecture}", change.name)
        file = f"{name}_{quote(change.old, safe='+~.-')}_{architecture}.deb".replace("%3A", "%3a")
        if (_ARCHIVES / file).is_file():
            shutil.copyfile(_ARCHIVES / file, folder / file)
        else:
            repack(change.name, folder / file)
        with (folder / file).open("rb") as kept:
            files.sync(kept)
    files.sync_directory(folder)


def repack(name: str, made: Path) -> None:
    """Make a package's file again of what is installed, as dpkg-repack(1) does.

    A configuration file that somebody has changed is packed otherwise than it lies there: dpkg goes on
    seeing that it was changed.

    :raises OSError: there is no room.
    """
    with tempfile.TemporaryDirectory(dir=made.parent, prefix=".repack-") as scratch:
        tree, control = Path(scratch), Path(scratch, "DEBIAN")
        control.mkdir(mode=0o755)
        tree.chmod(0o755)
        text = _run("dpkg-query", "--status", name).stdout
        control.joinpath("control").write_text(
            re.sub(r"(?m)^(Status: .*\n|Config-Version: .*\n|Conffiles:\n( .*\n)*)", "", text),
            encoding="utf-8",
        )
        for path in _run("dpkg-query", "--control-path", name).stdout.split():
            kind = path.rpartition(".")[2]
            if kind not in ("list", "md5sums"):
                shutil.copy(path, control / kind)
        paths = _run("dpkg-query", "--listfiles", name).stdout.splitlines()
        there = sorted(
            path for path in paths if path.startswith("/") and path != "/." and os.path.lexists(path)
        )
        folders = {str(parent) for path in there for parent in Path(path).parents}
        for path in there:
            _copy(Path(path), tree / path.lstrip("/"), folder=path in folders)
        for line in _query("${Conffiles}", name).splitlines():
            path, _, known = line.strip().partition(" ")
            packed = tree / path.lstrip("/")
            if (
                packed.is_file()
                and md5(packed.read_bytes(), usedforsecurity=False).hexdigest() != known.split()[0]
            ):
                with packed.open("a") as file:
                    file.write("\n# Packed again: the file that was installed was changed.\n")
        done = subprocess.run(
            ["dpkg-deb", "-Znone", "--build", tree, made],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
            start_new_session=signals.apart(),
        )
        if done.returncode:
            raise OSError(28, done.stderr.decode(errors="replace").strip()[-200:], str(made))


def _copy(path: Path, packed: Path, *, folder: bool) -> None:
    """:param folder: it is one to dpkg, though it may be a link by now (/lib, on a merged /usr)."""
    if folder or (path.is_dir() and not path.is_symlink()):
        packed.mkdir(parents=True, exist_ok=True)
        shutil.copystat(path, packed)
    else:
        shutil.copy2(path, packed, follow_symlinks=False)
    status = path.stat() if folder else path.lstat()
    os.chown(packed, status.st_uid, status.st_gid, follow_symlinks=False)
    if not packed.is_symlink():
        # chown(2) takes set-user-ID bits away.
        packed.chmod(stat.S_IMODE(status.st_mode))


def put_back(folder: Path, changed: Sequence[Change], heard: Callable[[str], None]) -> str:
    """Install the packages that :func:`keep` has kept, of those that were changed, whatever state dpkg is in.

    :return: why that failed; empty if it did not.
    """
    names = {change.name.partition(":")[0] for change in changed}
    kept = sorted(str(path) for path in folder.glob("*.deb") if path.name.partition("_")[0] in names)
    with _FRONTEND_LOCK.open("w") as lock:
        # As apt does (dpkg(1), DPKG_FRONTEND_LOCKED); somebody else's apt is waited for.
        fcntl.lockf(lock, fcntl.LOCK_EX)
        # The package's own check asks the version that is installed, which may not run any more.
        env = {"DPKG_FRONTEND_LOCKED": "true", "MICROBLOG_GOING_BACK": "1"}
        options = ("--force-confdef", "--force-confold")
        done = _run("dpkg", *options, *(["--install", *kept] if kept else ["--audit"]), heard=heard, env=env)
        again = _run("dpkg", *options, "--configure", "--pending", heard=heard, env=env)
    return _error(done.stdout + again.stdout) if done.returncode and again.returncode else ""


def not_back(changed: Sequence[Change], why: str) -> str:
    """Why packages are not at the version that they had, where some are not; visitors may not notice.

    :param why: what :func:`put_back` has said.
    """
    others = [change.name for change in changed if change.old and installed(change.name) != change.old]
    return f"{', '.join(others)} stayed as the update left it: {why or 'see the log'}" if others else ""


def wait_for_others() -> None:
    """Until nobody else is at dpkg."""
    with suppress(FileNotFoundError), _FRONTEND_LOCK.open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)


def refuse(found: Sequence[Change]) -> None:
    """Have apt leave out these versions, and take the next ones."""
    head, stanzas = _pins()
    for change in found:
        stanza = f"Package: {change.name}\nPin: version {change.new}\nPin-Priority: -1"
        # A package that was taken away, or that dpkg has not come to, has no version to refuse.
        if change.new not in ("", change.old) and stanza not in stanzas:
            stanzas.append(stanza)
    _pin(head, stanzas)


def accept(found: Sequence[Change]) -> None:
    """What was refused of these has been followed by a good one."""
    head, stanzas = _pins()
    names = {f"Package: {change.name}" for change in found}
    _pin(head, [stanza for stanza in stanzas if stanza.splitlines()[0] not in names])


def _pins() -> tuple[str, list[str]]:
    """What stands above, and what is refused, a stanza each; somebody may have written there, too."""
    if not PINS.exists():
        return "# Taken back by 'microblog update'.", []
    head, *stanzas = re.split(r"\n(?:[ \t]*\n)+", PINS.read_text(encoding="utf-8").strip())
    return head, stanzas


def _pin(head: str, stanzas: list[str]) -> None:
    if not stanzas:
        allow()
    elif (head, stanzas) != _pins():
        files.write(PINS, "\n\n".join([head, *stanzas]) + "\n", 0o644)


def allow() -> None:
    """Have apt offer again what was taken back."""
    PINS.unlink(missing_ok=True)


def _query(form: str, name: str) -> str:
    return _run("dpkg-query", "--show", "--showformat", form, name, quiet=True).stdout


def _error(said: str) -> str:
    """The line of what apt or dpkg has said that tells most."""
    lines = [line.strip() for line in said.splitlines()]
    for start in ("E:", "dpkg: error", "dpkg: "):
        if found := [line for line in lines if line.startswith(start)]:
            return found[0].removeprefix("E:").strip()
    return next((line for line in reversed(lines) if line), "it does not say why")


def _run(
    *command: str,
    heard: Callable[[str], None] = lambda _: None,
    env: "dict[str, str] | None" = None,
    quiet: bool = False,
) -> "subprocess.CompletedProcess[str]":
    """Run a program out of reach of the terminal's Ctrl-C; what it says goes into the log, too."""
    said = []
    # What only looks is left out: a page that is looked at must not fill the disk.
    noted = command[0] not in ("dpkg-query", "apt-mark") and "--simulate" not in command
    if noted:
        _log(f"{journal.now()} {' '.join(command)}\n")
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**_QUIET, **(env or {})},
        start_new_session=True,
    )
    assert process.stdout  # noqa: S101
    for line in process.stdout:
        said.append(line)
        if noted:
            _log(line)
        heard(line.rstrip())
    return subprocess.CompletedProcess(command, process.wait(), "".join(said))


def _log(text: str) -> None:
    """What apt and dpkg say; a full disk stops no way back."""
    with suppress(OSError):
        if LOG.exists() and LOG.stat().st_size > _LOG_BYTES:
            LOG.replace(LOG.with_name(f"{LOG.name}.1"))
        with LOG.open("a", encoding="utf-8") as file:
            file.write(text)
