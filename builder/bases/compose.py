"""Compose a base from a Debian archive's packages: mmdebstrap, then the disk layout."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from builder.bases import interpreter, snapshot
from builder.core import cache, paths
from builder.core.command import program
from builder.core.needs import File, Folder, Program
from builder.core.progress import step
from builder.core.request import USUAL, Request
from builder.core.work import Work
from builder.defs.definition import ComposedBase, size_in_bytes

_ROOT_TAR_BYTES = 1 << 30
_UNPACKED_BYTES = 3 << 30
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# These have neither updates of a release nor security updates of their own.
_ROLLING = frozenset({"sid", "unstable", "experimental", "testing"})
NEEDS = (
    File("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
    # An ordinary user's namespaces.
    Program("newuidmap", "uidmap"),
)
_DEBIAN = "http://deb.debian.org/debian"
_LAYOUTS = Folder("builder/disk/layouts")


def scripts(base: ComposedBase) -> list[Path]:
    """The files, besides the definition and code, that a composed base depends on."""
    named = (base.prepare, base.customize, *base.leave_out, "mke2fs.conf")
    return [paths.base_file(name) for name in named if name]


def code(base: ComposedBase) -> list[ModuleType]:
    """The modules that compose it: of the layouts its own alone."""
    return [sys.modules[__name__], _LAYOUTS.load(base.layout)]


def archives(base: ComposedBase, asked: Request = USUAL) -> list[str]:
    """The archives of a base whose definition names a mirror, as lines of a sources.list; else none.

    mmdebstrap knows Debian's own, with their updates and security updates; of a mirror, or of a day, it
    takes what it is given.
    """
    if asked.snapshot or base.mirror:
        return all_archives(base, asked)
    return []


def all_archives(base: ComposedBase, asked: Request = USUAL) -> list[str]:
    """Likewise, Debian's own where it names none."""
    if asked.snapshot:
        return [snapshot.sources(line, asked.snapshot) for line in all_archives(base)]
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    mirror = base.mirror or _DEBIAN
    places = [(mirror, base.suite)]
    if base.suite not in _ROLLING:
        places.append((mirror, f"{base.suite}-updates"))
        if base.security_mirror:
            places.append((base.security_mirror, f"{base.suite}-security"))
    return [f"deb {signed}{url} {suite} {' '.join(base.components)}" for url, suite in places]


def _own_mounts() -> list[str]:
    """Run what follows with mounts and processes that end with it, even when it is killed.

    As root mmdebstrap mounts /proc, /sys and this machine's /dev/shm below its directory. Left
    behind there, they would be emptied with it when the directory is removed. An ordinary user's
    are in a namespace anyway.
    """
    if os.geteuid() != 0:
        return []
    return [
        program("unshare", "util-linux"),
        *("--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
    ]


def _hook(kind: str, script: str) -> list[str]:
    if not script:
        return []
    # Its text, not its name: in a user's namespace nobody may enter the user's directories.
    return [f"--{kind}-hook={paths.base_file(script).read_text()}"]


def _leaving_out(base: ComposedBase) -> list[str]:
    """What mmdebstrap is told besides, where parts of packages are left out: dpkg's settings, which the
    machine keeps for its upgrades."""
    told = []
    for name in base.leave_out:
        text = paths.base_file(name).read_text()
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        told += [f"--dpkgopt={line}" for line in lines]
        told.append(f"--customize-hook=cat > \"$1/etc/dpkg/dpkg.cfg.d/{name}\" <<'END'\n{text}END")
    return told


def _of_a_day(base: ComposedBase, asked: Request) -> list[str]:
    """What mmdebstrap is told besides, where packages are those of an earlier day: an old index is good, and
    the machine's own archives are today's."""
    if not asked.snapshot:
        return []
    today = "\n".join(all_archives(base))
    return [
        '--aptopt=Acquire::Check-Valid-Until "false"',
        f"--customize-hook=cat > \"$1/etc/apt/sources.list\" <<'END'\n{today}\nEND",
    ]


def compose(
    base: ComposedBase, include: Sequence[str], image: Path, work: Work, asked: Request = USUAL
) -> None:
    """Write a raw disk image of the base.

    An ordinary user needs user namespaces and a range in /etc/subuid; mmdebstrap's
    ``--mode=auto`` takes what is there.

    :param include: packages besides the base's own.
    :param work: a directory for half-done files.
    :raises BuildError: a package or a tool is missing, the disk is full, or the archive can't be reached.
    """
    size = size_in_bytes(base.disk_size)
    interpreter.require(base.architecture)
    cache.need_space(work.directory, size + 2 * _ROOT_TAR_BYTES, f"composing {base.name}")
    if os.geteuid() != 0:
        # An ordinary user's namespace can't enter the cache: mmdebstrap unpacks where all may.
        hint = "Free some space there, or let TMPDIR name a larger directory that everybody may enter"
        cache.need_space(Path(tempfile.gettempdir()), _UNPACKED_BYTES, f"composing {base.name}", hint)
    tar = work / "root.tar"
    with step(f"Composing {base.name}: installing its packages", f"Installed the packages of {base.name}"):
        work.run(
            [*_own_mounts(), program("mmdebstrap", "mmdebstrap"), "--variant=apt",
             f"--architectures={base.architecture}",
             f"--components={','.join(base.components)}",
             f"--include={','.join([*base.packages, *include])}",
             '--aptopt=Acquire::Languages "none"',
             *_hook("extract", base.prepare), *_hook("customize", base.customize),
             *_leaving_out(base), *_of_a_day(base, asked),
             base.suite, tar, *archives(base, asked)],
            # Half-done trees go with the scratch directory; an ordinary user's
            # namespace cannot enter it, and mmdebstrap then cleans up /tmp itself.
            env={**interpreter.environment(base.architecture),
                 **({"TMPDIR": str(work.directory)} if os.geteuid() == 0 else {})},
            hint=f"Is the archive reachable, and is there room on the disk? The whole log: {work.log}",
        )  # fmt: skip
    with step(f"Composing {base.name}: laying out its disk", f"Laid out the disk of {base.name}"):
        _LAYOUTS.load(base.layout).assemble(tar, image, size, f"{base.name}/{base.suite}", work)
    tar.unlink()
