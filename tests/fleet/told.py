"""What each machine of the drill is told of its fleet, and what its image makes of that: by the product's own
(builder/fleet, packer/files), so that what plugs are pulled from is what ships."""

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
_SETTINGS = {"WEB_CONCURRENCY": "1", "WEB_THREADS": "8"}


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


def tell(folder: Path, places: Mapping[str, Sequence[Place]], shared: str = "") -> dict[str, list[Told]]:
    """Tell all machines of a fleet, as ``fleet make`` does. :param places: by kind; :return: likewise."""
    machines = tuple(
        plan.Machine(kind, f"{_SHORT[kind]}{number}", place.address)
        for kind, found in places.items()
        for number, place in enumerate(found, 1)
    )
    # Visitors come by its address: it has no name that leads to it.
    site = shared or "localhost"
    fleet = plan.Fleet(site, "ada@example.org", (), (), shared, _SETTINGS, machines)
    vault = Vault(folder)
    vault.complete(fleet)
    found: dict[str, list[Told]] = {}
    for machine, place in zip(machines, (place for some in places.values() for place in some), strict=True):
        own = folder / machine.name
        for file in userdata.files(fleet, machine, vault.known):
            _write(own, file)
        told = Told(machine, own, place, shared, vault.known["database_password"])
        found.setdefault(machine.kind, []).append(told)
    return found


def _write(own: Path, file: userdata.File) -> None:
    """Where the machine's programs look for it: here, in a folder of its own."""
    place = Path(file.path)
    path = own / (place.relative_to(userdata.FOLDER) if place.is_relative_to(userdata.FOLDER) else place.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(file.content.replace(userdata.FOLDER, str(own)))
    path.chmod(int(file.mode, 8))


def swapped(text: str, swaps: Mapping[str, str]) -> str:
    """A file of the product's, with what is elsewhere here; each of it has to be there."""
    for old, new in swaps.items():
        assert old in text, old
        text = text.replace(old, new)
    return text
