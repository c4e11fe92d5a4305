"""Compose a base from a Debian archive's packages: mmdebstrap, then the disk layout."""

import os
from collections.abc import Sequence
from pathlib import Path

from builder import cache, card, disk, paths
from builder.command import program, run
from builder.definition import ComposedBase, size_in_bytes
from builder.errors import BuildError
from builder.progress import step

_ROOT_TAR_BYTES = 1 << 30
_LAYOUTS = {"cloud": disk.assemble, "card": card.assemble}


def sources(base: ComposedBase) -> list[Path]:
    """The files, besides the definition, that a composed base depends on."""
    here = Path(__file__)
    bases = paths.DEFINITIONS / "bases"
    modules = ("disk.py", "card.py", "fat.py", "rootfs.py")
    return [here, *map(here.with_name, modules), bases / base.customize, bases / "mke2fs.conf"]


def compose(base: ComposedBase, include: Sequence[str], image: Path, work: Path, log: Path) -> None:
    """Write a raw disk image of the base.

    An ordinary user needs user namespaces and a range in /etc/subuid; mmdebstrap's
    ``--mode=auto`` takes what is there.

    :param include: packages besides the base's own.
    :param work: a directory for half-done files.
    :raises BuildError: a package or a tool is missing, the disk is full, or the archive can't be reached.
    """
    size = size_in_bytes(base.disk_size)
    if base.layout not in _LAYOUTS:
        raise BuildError(
            f"base {base.name}: there is no layout {base.layout!r}", f"Use: {', '.join(_LAYOUTS)}"
        )
    cache.need_space(work, size + 2 * _ROOT_TAR_BYTES, f"composing {base.name}")
    tar = work / "root.tar"
    with step(f"Composing {base.name}: installing its packages", f"Installed the packages of {base.name}"):
        run(
            [program("mmdebstrap", "mmdebstrap"), "--variant=apt",
             f"--architectures={base.architecture}",
             f"--components={','.join(base.components)}",
             f"--include={','.join([*base.packages, *include])}",
             '--aptopt=Acquire::Languages "none"',
             # Its text, not its name: in a user's namespace nobody may enter the user's directories.
             f"--customize-hook={(paths.DEFINITIONS / 'bases' / base.customize).read_text()}",
             base.suite, tar, *([base.mirror] if base.mirror else [])],
            log,
            # Half-done trees go with the scratch directory; an ordinary user's
            # namespace cannot enter it, and mmdebstrap then cleans up /tmp itself.
            env={"TMPDIR": str(work)} if os.geteuid() == 0 else {},
            hint=f"Is the archive reachable, and is there room on the disk? The whole log: {log}",
        )  # fmt: skip
    with step(f"Composing {base.name}: laying out its disk", f"Laid out the disk of {base.name}"):
        _LAYOUTS[base.layout](tar, image, size, f"{base.name}/{base.suite}", work, log)
    tar.unlink()
