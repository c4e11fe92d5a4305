"""A fleet's folder: the user data of its machines, its secrets, and what to do with them."""

from pathlib import Path

from builder.core import paths
from builder.core.errors import BuildError
from builder.fleet import guide, plan, userdata
from builder.fleet.vault import Vault, write

# What is in the folder beside the machines' files.
_LIST, GUIDE, AUTHORITY = "machines", "README.txt", "ca.pem"


def make(
    path: Path, folder: Path, identity: Path | None = None, settings: Path | None = None
) -> list[Path]:  # fmt: skip
    """Write what is not there yet, or says something else. Made again, nothing changes.

    :param path: FLEET.toml; :param folder: where to; it is made, for its owner alone.
    :param identity: the private key that opens the secrets, where they are encrypted.
    :param settings: microblog.env of a site that grows into this fleet: its key becomes the fleet's.
    :return: the files, those that changed.
    :raises BuildError: the fleet can't be, or its secrets can't be read.
    """
    return _write(plan.load(path), folder, identity, settings)


def add(
    path: Path, folder: Path, machine: plan.Machine, identity: Path | None = None
) -> list[Path]:  # fmt: skip
    """Have one machine more: in FLEET.toml, and in the folder. As :func:`make`."""
    return _change(
        path, plan.with_machine(path, machine.kind, machine.name, machine.address), folder, identity
    )


def remove(path: Path, folder: Path, name: str, identity: Path | None = None) -> list[Path]:
    """Have one machine less. As :func:`make`."""
    return _change(path, plan.without_machine(path, name), folder, identity)


def _change(path: Path, text: str, folder: Path, identity: Path | None) -> list[Path]:
    fleet = plan.read(text, path)
    # The folder first: made again by an older file, it is as it was.
    changed = _write(fleet, folder, identity)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.chmod(path.stat().st_mode & 0o777)
    beside.replace(path)
    return changed


def _write(
    fleet: plan.Fleet, folder: Path, identity: Path | None, settings: Path | None = None
) -> list[Path]:  # fmt: skip
    paths.make_named(folder, "--out", 0o700)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    vault = Vault(folder, identity)
    if not vault.known and (folder / AUTHORITY).exists():
        raise BuildError(
            f"{folder} is a fleet's, and its secrets are not there",
            "Put secrets.json or secrets.age back: new ones are another fleet's, which wants another folder",
        )
    if settings:
        vault.take_key(settings)
    vault.complete(fleet)
    # Before anything tells of them.
    vault.keep(fleet.seal_to)
    files = {f"{one.name}.yaml": userdata.of_machine(fleet, one, vault.known) for one in fleet.machines}
    for name, text in files.items():
        if len(text.encode()) > userdata.LARGEST:
            raise BuildError(
                f"{name} is larger than the {userdata.LARGEST >> 10} KiB that providers take",
                "Shorten ssh_keys or settings",
            )
    files |= {
        _LIST: userdata.machines(fleet),
        GUIDE: guide.text(fleet),
        AUTHORITY: vault.known["authority"]["cert"],
    }
    for path in folder.glob("*.yaml"):
        if path.name not in files:
            path.unlink()
    changed = []
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write(path, text.encode())
            changed.append(path)
    return changed
