"""The partitions of a disk image, from its table (sfdisk(8))."""

import json
from dataclasses import dataclass
from pathlib import Path

from builder.core.command import output, program


@dataclass(frozen=True)
class Partition:
    """One partition."""

    number: int
    kind: str
    """Its type, in capitals: two hexadecimal digits (MBR) or a UUID (GPT)."""
    offset: int
    """Where it begins, in bytes."""
    size: int
    """In bytes."""


@dataclass(frozen=True)
class Table:
    """A partition table."""

    label: str
    """``dos`` or ``gpt``."""
    identifier: str
    """Of the disk: a number (MBR, ``0x6d696372``) or a UUID (GPT)."""
    partitions: tuple[Partition, ...]

    def first(self, kinds: tuple[str, ...]) -> Partition | None:
        """The first partition of one of these types."""
        return next((partition for partition in self.partitions if partition.kind in kinds), None)


def table(image: Path) -> Table:
    """Read a raw disk's partition table.

    :raises BuildError: it has none.
    """
    told = json.loads(output([program("sfdisk", "fdisk"), "--json", image]))["partitiontable"]
    sector = told.get("sectorsize", 512)
    return Table(
        told["label"],
        told["id"],
        tuple(
            # sfdisk names a partition after the disk: the number is behind that, or behind a p.
            Partition(
                int(entry["node"][len(told["device"]) :].lstrip("p")),
                entry["type"].upper(),
                entry["start"] * sector,
                entry["size"] * sector,
            )
            for entry in told.get("partitions", [])
        ),
    )
