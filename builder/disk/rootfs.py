"""Write a root file system into a disk image: no root rights, no mounts, no loop devices."""

import uuid
from collections.abc import Sequence
from pathlib import Path

from builder.core.command import program
from builder.core.work import Work

_MKE2FS_CONF = Path(__file__).parent.parent.parent / "images" / "bases" / "mke2fs.conf"


def write(
    tar: Path, image: Path, offset: int, size: int, label: str, seed: str, work: Work,
    aside: Sequence[tuple[str, Path]] = (),
) -> None:  # fmt: skip
    """Write an ext4 file system with a tar archive's content.

    :param offset: where it begins in the image, and
    :param size: how long it is, both in bytes.
    :param seed: what its identifiers are derived from.
    :param aside: directories whose content goes elsewhere, as (path below the root, new directory).
    :raises BuildError: a tool fails, or the content does not fit.
    """
    # fakeroot keeps the owners and device nodes that an ordinary user cannot make.
    fakeroot = program("fakeroot", "fakeroot")
    # By a name without a space, whatever that of ``work`` has: fakeroot's script splits it.
    state, root = "fakeroot.state", work.directory.absolute() / "root"
    root.mkdir()
    work.run(
        [fakeroot, "-s", state, "--", "tar", "-x", "--numeric-owner", "-C", root, "-f", tar.absolute()],
        cwd=work.directory,
    )
    for path, to in aside:
        (root / path).rename(to)
        (root / path).mkdir(mode=0o755)
    work.run(
        [fakeroot, "-i", state, "--", program("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4",
         "-L", label, "-U", str(uuid.uuid5(uuid.NAMESPACE_URL, f"{seed}/fs")),
         "-E", f"offset={offset},lazy_itable_init=1,hash_seed={uuid.uuid5(uuid.NAMESPACE_URL, seed)}",
         "-d", root, image.absolute(), f"{size // 1024}k"],
        cwd=work.directory,
        env={"MKE2FS_CONFIG": str(_MKE2FS_CONF)},
        hint=f"Does the system fit into its disk_size? The whole log: {work.log}",
    )  # fmt: skip
