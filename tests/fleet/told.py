"""What each machine of the drill is told of its fleet, and what its image makes of that: by the product's own
(builder/fleet, packer/files), so that what plugs are pulled from is what ships."""

import dataclasses
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from network import Place

from builder.core import paths
from builder.fleet import plan, userdata
from builder.fleet.vault import Vault

_SHORT = {"database": "db", "app": "app", "balancer": "lb"}
# This computer has few processors: more of the application's processes only wait for each other.
SETTINGS = {"WEB_CONCURRENCY": "1", "WEB_THREADS": "8"}
SITE, OWNER = "fleet.example.org", "ada@example.org"
# Of a fleet's folder of machines: what its owner has.
MADE = "made"


@dataclass(frozen=True)
class Told:
    """A machine that was told what it is.

    :ivar folder: its /etc/fleet; an application's settings are in it, too.
    :ivar password: the application's, at the databases.
    """

    machine: plan.Machine
    folder: Path
    place: Place
    shared: str
    password: str

    @property
    def authority(self) -> Path:
        """The certificate of the fleet's authority."""
        return self.folder / "tls/ca.pem"

    def made(self, script: str, *words: str) -> str:
        """What a script of its image prints, which makes a file for one of its programs."""
        path = paths.PACKER / "files" / self.machine.kind / "usr/local/lib/fleet" / script
        return subprocess.run(
            self.place.command([path, *words]),
            env={**os.environ, "FLEET": str(self.folder)}, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip


def named(kind: str, number: int) -> str:
    return f"{_SHORT[kind]}{number}"


def tell(folder: Path, places: Mapping[str, Sequence[Place]], shared: str = "") -> dict[str, list[Told]]:
    """Tell all machines of a fleet, as ``fleet make`` does. :param places: by kind; :return: likewise."""
    machines = tuple(
        plan.Machine(kind, named(kind, number), place.address)
        for kind, found in places.items()
        for number, place in enumerate(found, 1)
    )
    fleet = plan.Fleet(SITE, OWNER, (), (), shared, SETTINGS, machines)
    (folder / MADE).mkdir(parents=True)
    vault = Vault(folder / MADE)
    vault.complete(fleet)
    vault.keep(fleet.seal_to)
    found: dict[str, list[Told]] = {}
    for machine, place in zip(machines, (place for some in places.values() for place in some), strict=True):
        found.setdefault(machine.kind, []).append(tell_one(folder, fleet, machine, place))
    return found


def tell_one(folder: Path, fleet: plan.Fleet, machine: plan.Machine, place: Place) -> Told:
    """Tell one machine of a fleet, for the first time or anew. :param folder: as :func:`tell` takes it."""
    known, own = Vault(folder / MADE).known, folder / machine.name
    # Visitors come by its address: it has no name that leads to it.
    fleet = dataclasses.replace(fleet, site=fleet.shared or "localhost")
    for file in userdata.files(fleet, machine, known):
        _write(own, file)
    return Told(machine, own, place, fleet.shared, known["database_password"])


def _write(own: Path, file: userdata.File) -> None:
    """Where the machine's programs look for it: here, in a folder of its own."""
    place = Path(file.path)
    path = own / (place.relative_to(userdata.FOLDER) if place.is_relative_to(userdata.FOLDER) else place.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(file.content.replace(userdata.FOLDER, str(own)))
    path.chmod(int(file.mode, 8))


def put(path: Path, text: str) -> bool:
    """Have a file of a program's say this, whole. :return: whether it said something else."""
    if path.exists() and path.read_text() == text:
        return False
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)
    return True


def swapped(text: str, swaps: Mapping[str, str]) -> str:
    """A file of the product's, with what is elsewhere here; each of it has to be there."""
    for old, new in swaps.items():
        assert old in text, old
        text = text.replace(old, new)
    return text
