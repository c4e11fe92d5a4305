"""The fleet's secrets: made once, and kept in one file, in the clear or encrypted.

Encrypted by age: Debian 12 and 13 and Ubuntu have it; it takes the SSH keys that an owner has already (gpg
wants a keyring of its own), and who has changed the file is told so ("openssl enc" does not).
"""

import json
import os
import re
import secrets
import string
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.core.command import program
from builder.core.errors import BuildError
from builder.fleet import authority
from builder.fleet.plan import Fleet

_CLEAR, _SEALED = "secrets.json", "secrets.age"
# Of letters and digits alone: they stand in addresses, in SQL and in other programs' files.
_SIGNS = string.ascii_letters + string.digits
_LENGTHS = {"secret_key": 64, "database_password": 40, "copy_password": 40}
# As the application takes it: letters that nobody mistakes for others.
_CODE = "ABCDEFGHJKLMNPQRSTUVWXYZ"
# The line of a settings file of the application's, as it writes it itself.
_KEY = re.compile(r"""(?m)^ *SECRET_KEY=(['"]?)([^'"\\\s]{32,})\1 *$""")


class Vault:
    """The secrets, by name: ``authority``, ``machines`` and those of one word.

    :ivar known: all of them.
    """

    def __init__(self, folder: Path, identity: Path | None = None) -> None:
        """Read what is kept in a folder. :param identity: the private key that opens it, if it is encrypted.

        :raises BuildError: it can't be read.
        """
        self._clear, self._sealed = folder / _CLEAR, folder / _SEALED
        self.known: dict[str, Any] = {}
        if self._clear.exists():
            self.known = _parsed(self._clear.read_text(), self._clear)
        elif self._sealed.exists():
            self.known = _parsed(_open(self._sealed, identity), self._sealed)
        self._kept = json.dumps(self.known)

    def take_key(self, settings: Path) -> None:
        """Have the key of a site that grows into this fleet: what it has signed, and sealed, goes on.

        :param settings: that site's microblog.env.
        :raises BuildError: there is no key in it.
        """
        try:
            found = _KEY.search(settings.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise BuildError(f"{settings}: {reason}", "Name the site's microblog.env") from None
        if not found:
            raise BuildError(
                f"{settings} has no SECRET_KEY of 32 signs or more",
                "Name the site's /etc/microblog/microblog.env",
            )
        self.known["secret_key"] = found[2]

    def complete(self, fleet: Fleet) -> None:
        """Make what is missing, and forget machines that the fleet has no more."""
        for name, length in _LENGTHS.items():
            if name not in self.known:
                self.known[name] = "".join(secrets.choice(_SIGNS) for _ in range(length))
        if "claim_code" not in self.known:
            # Eight different ones: the application wants four.
            self.known["claim_code"] = "".join(secrets.SystemRandom().sample(_CODE, 8))
        if "authority" not in self.known:
            self.known["authority"] = authority.make(fleet.site)
        machines = self.known.get("machines", {})
        self.known["machines"] = {
            machine.name: machines[machine.name]
            if machines.get(machine.name, {}).get("for") == authority.names(fleet, machine)
            else authority.sign(self.known["authority"], fleet, machine)
            for machine in fleet.machines
        }

    def keep(self, seal_to: tuple[str, ...]) -> Path:
        """Write them, unless they are there as they should be. :return: the file.

        :param seal_to: for whom they are encrypted; for nobody if empty.
        """
        path, other = (self._sealed, self._clear) if seal_to else (self._clear, self._sealed)
        # Kept with them: whom to encrypt them for may change, and what is encrypted does not say.
        self.known["sealed_to"] = list(seal_to)
        if not path.exists() or other.exists() or json.dumps(self.known) != self._kept:
            text = (json.dumps(self.known, indent=1) + "\n").encode()
            write(path, _sealed(text, seal_to) if seal_to else text)
            other.unlink(missing_ok=True)
            self._kept = json.dumps(self.known)
        return path


def write(path: Path, content: bytes) -> None:
    """Put a file in its place, whole, for its owner alone to read."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _parsed(text: str, path: Path) -> dict[str, Any]:
    known: dict[str, Any] = {}
    with suppress(ValueError):
        known = json.loads(text)
    if not _is_whole(known):
        # What is in it is in no message.
        raise BuildError(f"{path} is damaged", "Take it from a copy: new secrets are another fleet's")
    return known


def _is_whole(known: Any) -> bool:
    """Whether what would be missed most is there. What a later version wants more is made."""
    if not isinstance(known, dict) or not isinstance(known.get("machines"), dict):
        return False
    pairs = [known.get("authority"), *known["machines"].values()]
    return all(
        isinstance(pair, dict) and isinstance(pair.get("key"), str) and isinstance(pair.get("cert"), str)
        for pair in pairs
    ) and all(isinstance(known.get(name), str) for name in _LENGTHS)


def _sealed(text: bytes, seal_to: tuple[str, ...]) -> bytes:
    recipients = [word for one in seal_to for word in ("--recipient", one)]
    return _age("The keys of seal_to are age's (age1...) or SSH's", *recipients, given=text)


def _open(path: Path, identity: Path | None) -> str:
    key = identity or Path.home() / ".ssh/id_ed25519"
    hint = "Name the private key of one of seal_to: --identity FILE"
    return _age(hint, "--decrypt", "--identity", str(key), str(path)).decode()


def _age(hint: str, *arguments: str, given: bytes = b"") -> bytes:
    done = subprocess.run(
        [program("age", "age"), *arguments], input=given, capture_output=True, check=False
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit {done.returncode}"]
        raise BuildError(f"the secrets are not opened or sealed: {lines[0]}", hint)
    return done.stdout
