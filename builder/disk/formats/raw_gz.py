"""raw.gz: a raw disk packed by gzip, as DigitalOcean and Linode take it."""

from pathlib import Path

from builder.core.command import program
from builder.core.needs import Program
from builder.core.work import Work
from builder.disk import stream
from builder.disk.format import Format


def pack(raw: Path, to: Path, work: Work) -> None:
    """Pack a raw disk. It is given back as it was."""
    work.run([program("gzip", "gzip"), "--no-name", "--keep", "--force", "--suffix", ".packing", raw])
    raw.with_name(f"{raw.name}.packing").replace(to)


FORMAT = Format(".img.gz", pack, stream.unpacker(Program("gzip", "gzip")), is_for="DigitalOcean, Linode")
