"""Read files out of an ext4 file system within a disk image: no mount, no root (debugfs(8))."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from builder.core.command import output, program
from builder.core.errors import BuildError
from builder.disk import partition

_LINUX_ROOT = ("0FC63DAF-8483-4772-8E79-3D69D8477DE4", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "83")
"""Partition types that hold a root file system: Linux and Linux root x86-64 (GPT), Linux (MBR)."""

_EXTENDED_BOOT = ("BC13C2FF-59E6-4262-A352-B275FD6F7172",)
"""The type of a partition that is mounted on /boot (GPT): Ubuntu has one from 24.04 on."""

# Else what is changed tells when.
_SAME_TIME = {"E2FSPROGS_FAKE_TIME": "1000000000"}


def quoted(path: Path | str) -> str:
    """As one word of a debugfs request (ss(3): a quotation mark within is doubled)."""
    return '"' + str(path).replace('"', '""') + '"'


@dataclass(frozen=True)
class FileSystem:
    """A file system of a raw disk image: the root's, or that of /boot."""

    image: Path
    offset: int
    """Where it begins, in bytes."""
    size: int
    """Of its partition, in bytes."""

    @classmethod
    def root_of(cls, image: Path) -> "FileSystem":
        """Find it in the partition table.

        :raises BuildError: there is no Linux partition.
        """
        found = cls._first_of(image, _LINUX_ROOT)
        if found is None:
            raise BuildError(f"{image} has no Linux partition", "Is it a disk image?")
        return found

    @classmethod
    def boot_of(cls, image: Path) -> "FileSystem | None":
        """The file system of /boot, where that is one of its own."""
        return cls._first_of(image, _EXTENDED_BOOT)

    @classmethod
    def _first_of(cls, image: Path, types: tuple[str, ...]) -> "FileSystem | None":
        found = partition.table(image).first(types)
        return cls(image, found.offset, found.size) if found else None

    def _debugfs(self, request: str, *options: str) -> str:
        """Ask it. Option ``-c`` leaves its bitmaps alone, whatever state the power left it in.

        :raises BuildError: it is none.
        """
        place = f"{self.image}?offset={self.offset}"
        done = subprocess.run(
            [program("debugfs", "e2fsprogs"), *options, "-R", request, place],
            capture_output=True, check=False,
        )  # fmt: skip
        said = done.stderr.decode(errors="replace")
        # Some of it ends with 0 nevertheless.
        if done.returncode or "Filesystem not open" in said:
            raise BuildError(f"{self.image.name} has no ext4 file system: {said.splitlines()[1].strip()}")
        return done.stdout.decode()

    def names(self, directory: str) -> list[str]:
        """Names in a directory, without . and ..; empty where there is no such directory."""
        # ls -p prints /inode/mode/uid/gid/name/size/
        rows = [line.split("/") for line in self._debugfs(f"ls -p {quoted(directory)}", "-c").splitlines()]
        return sorted(row[5] for row in rows if len(row) > 6 and row[5] not in (".", ".."))

    def copy_out(self, path: str, to: Path) -> None:
        """Copy a regular file.

        :raises BuildError: there is none of that name.
        """
        to.unlink(missing_ok=True)
        self._debugfs(f"dump {quoted(path)} {quoted(to)}", "-c")
        if not to.exists():
            raise BuildError(f"{self.image.name} has no {path}", "Is it a Debian or Ubuntu system?")

    def copy_tree_out(self, path: str, to: Path) -> None:
        """Copy a directory and all below it into the directory ``to``."""
        to.mkdir(parents=True, exist_ok=True)
        self._debugfs(f"rdump {quoted(path)} {quoted(to)}", "-c")

    def change(self, *requests: str) -> None:
        """Change it by debugfs' requests. They say nothing of their success: look afterwards."""
        place = f"{self.image}?offset={self.offset}"
        for request in requests:
            output([program("debugfs", "e2fsprogs"), "-w", "-R", request, place], env=_SAME_TIME)

    def read(self, path: str) -> bytes:
        """A file's content; empty for an empty file and where there is none."""
        return self._debugfs(f"cat {quoted(path)}", "-c").encode()

    def blocks(self) -> tuple[int, int, list[int]]:
        """The size of a block in bytes, how many there are, and which are free, in their order.

        (dumpe2fs(8) tells it, too. That of 1.47.2, Debian 13's, takes no ``?offset=``.)

        :raises BuildError: it does not tell.
        """
        told = self._debugfs("stats")
        size = re.search(r"^Block size: +(\d+)$", told, re.MULTILINE)
        count = re.search(r"^Block count: +(\d+)$", told, re.MULTILINE)
        if not size or not count:
            raise BuildError(f"{self.image.name}: its file system does not tell its blocks")
        # As many as there are: it ends with the last one.
        free = self._debugfs(f"ffb {count[1]}")
        return int(size[1]), int(count[1]), sorted(int(word) for word in free.split() if word.isdecimal())
