"""The forms in which images come: what their names end with, and how each becomes a raw disk."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from builder.core.command import program, run
from builder.core.errors import BuildError
from builder.core.needs import Program
from builder.defs.endings import CARD, QCOW2, is_image, stem, suffix

__all__ = ["CARD", "QCOW2", "is_image", "stem", "suffix"]
_CHUNK = 1 << 20


def _from_qcow2(image: Path, raw: Path, log: Path) -> None:
    run([program("qemu-img", "qemu-utils"), "convert", "-O", "raw", image, raw], log)


def _from_zstd(image: Path, raw: Path, log: Path) -> None:
    run([program("zstd", "zstd"), "-q", "-d", "-f", "--sparse", image, "-o", raw], log)


def _from_stream(unpacker: Program) -> Callable[[Path, Path, Path], None]:
    """Unpack as it is read: what is not in use becomes holes, nothing else is on the disk besides."""

    def unpack(image: Path, raw: Path, log: Path) -> None:
        with raw.open("wb") as out, log.open("ab") as errors:
            process = subprocess.Popen(
                [unpacker.path, "-dc", str(image)], stdout=subprocess.PIPE, stderr=errors
            )
            assert process.stdout is not None  # noqa: S101
            while chunk := process.stdout.read(_CHUNK):
                if chunk.strip(b"\0"):
                    out.write(chunk)
                else:
                    out.seek(len(chunk), 1)
            out.truncate(out.tell())
            if process.wait() != 0:
                raise BuildError(
                    f"{image.name} is damaged: {unpacker.name} can't unpack it", f"The log: {log}"
                )

    return unpack


_UNPACKERS: dict[str, Callable[[Path, Path, Path], None]] = {QCOW2: _from_qcow2, CARD: _from_zstd}

# What publishers' images end with: packed, a raw disk is inside; else any that qemu-img knows.
_PUBLISHED: dict[str, Callable[[Path, Path, Path], None]] = {
    ".xz": _from_stream(Program("xz", "xz-utils")),
    ".zst": _from_stream(Program("zstd", "zstd")),
    ".gz": _from_stream(Program("gzip", "gzip")),
    "": _from_qcow2,
}


def unpack(image: Path, raw: Path, log: Path) -> None:
    """Write an image's disk into a sparse file.

    :raises BuildError: it is no image, or it is damaged.
    """
    _UNPACKERS[suffix(image)](image, raw, log)


def pack_qcow2(raw: Path, to: Path, log: Path) -> None:
    """Pack a raw disk into a qcow2 file, by zstd."""
    run(
        [program("qemu-img", "qemu-utils"), "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd",
         raw, to],
        log,
    )  # fmt: skip


def pack_card(raw: Path, to: Path, log: Path) -> None:
    """Pack a raw disk into a card's image, by zstd."""
    run([program("zstd", "zstd"), "-q", "-T0", "-6", raw, "-o", to], log)


def unpack_published(image: Path, raw: Path, log: Path) -> None:
    """Write the disk of a publisher's image into a sparse file.

    :raises BuildError: it is damaged.
    """
    next(unpacker for ending, unpacker in _PUBLISHED.items() if image.name.endswith(ending))(image, raw, log)
