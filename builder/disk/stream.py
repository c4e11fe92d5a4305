"""Unpack a disk as it is read: what is not in use becomes holes, nothing else is on the disk besides."""

import subprocess
from pathlib import Path

from builder.core.errors import BuildError
from builder.core.needs import Program
from builder.core.work import Work
from builder.disk.format import Unpack

_CHUNK = 1 << 20


def unpacker(program: Program) -> Unpack:
    """What unpacks a raw disk by a program that has gzip's options."""

    def unpack(image: Path, raw: Path, work: Work) -> None:
        with raw.open("wb") as out, work.log.open("ab") as errors:
            process = subprocess.Popen(
                [program.path, "-dc", str(image)], stdout=subprocess.PIPE, stderr=errors
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
                    f"{image.name} is damaged: {program.name} can't unpack it", f"The log: {work.log}"
                )

    return unpack
