"""What was published from here: a ledger for each snapshot, in images/out/published/."""

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from builder.core import paths
from builder.core.errors import BuildError
from builder.ship.cloud import Ledger

_LONGEST = 50
"""Of a name, in characters: Linode's labels."""
_DRY = ".dry"
ALL = "all"


def name(what: str, built: str) -> str:
    """What a snapshot is called in the user's account: unlike all others, so that it is found by it.

    :param what: ``microblog-0.1.0-cloud-debian-12``.
    :param built: when the image was, ISO 8601.
    """
    tail = f"{''.join(filter(str.isdigit, built))[2:12]}-{secrets.token_hex(2)}"
    return f"{what[: _LONGEST - len(tail) - 1].rstrip('-.')}-{tail}"


def ledger(what: str, provider: str, region: str, dry: bool = False) -> Ledger:
    """The ledger of one snapshot: a new one, or what an earlier run noted.

    :param what: the image's name and checksum.
    """
    return Ledger(_directory() / f"{what}.{provider}.{region}{_DRY if dry else ''}.json")


def _directory() -> Path:
    return paths.OUT / "published"


@dataclass(frozen=True)
class Published:
    """Something that was made in the user's account, or begun."""

    ledger: Ledger
    region: str

    @property
    def called(self) -> str:
        """Its name in the account."""
        return str(self.ledger.get("name") or self.ledger.path.name)

    def copy(self) -> Ledger:
        """A ledger with the same in it, to show calls with."""
        other = self.ledger.path.with_name(f"{self.ledger.path.stem}{_DRY}.json")
        shutil.copy(self.ledger.path, other)
        return Ledger(other)

    def is_called(self, which: str) -> bool:
        """Whether a user may mean it."""
        stem = Path(which).name.partition(".qcow2")[0]
        file = self.ledger.path.name
        names = (str(self.ledger.get("image")), self.called, file)
        return which in (*names, ALL) or file.startswith(f"{stem}-") or f"-{which}-" in file

    def __str__(self) -> str:
        return f"{self.ledger.get('image') or 'unfinished'}  {self.called}  {self.region}"


def listing(provider: str, region: str = "") -> list[Published]:
    """What was published with a provider. :param region: only what is there; all if empty."""
    found = []
    for path in sorted(_directory().glob(f"*.{provider}.*.json")):
        there = path.name.removesuffix(".json").rpartition(".")[2]
        if not path.name.endswith(f"{_DRY}.json") and region in ("", there):
            found.append(Published(Ledger(path), there))
    return found


def choose(provider: str, which: str, region: str = "") -> list[Published]:
    """Which of it is meant: exactly one, or all if that is asked for.

    :raises BuildError: none is, or several are.
    """
    there = listing(provider, region)
    if not there:
        raise BuildError(
            f"nothing was published with {provider} from here that could be removed",
            "What an earlier run made is noted in images/out/published/; is it another checkout's?",
        )
    lines = "; ".join(map(str, there))
    chosen = [one for one in there if one.is_called(which)]
    if not chosen:
        raise BuildError(f"{which} was not published with {provider} from here", f"There is: {lines}")
    if len(chosen) > 1 and which != ALL:
        raise BuildError(
            f"{len(chosen)} were published with {provider} from here; name one, or {ALL}",
            f"There is: {lines}",
        )
    return chosen
