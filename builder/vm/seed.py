"""Seeds: the disk that gives a booted machine its name and its owner's key (cloud-init: "NoCloud")."""

import json
from collections.abc import Mapping
from pathlib import Path

from builder.core.command import program
from builder.core.work import Work

_SIZE = 1 << 20


def files(user_data: dict[str, object], instance: str, hostname: str | None) -> dict[str, str]:
    """What cloud-init reads: name -> text.

    :param user_data: cloud-config, as cloud-init's documentation has it.
    :param instance: the instance id: another one makes cloud-init see a new machine.
    """
    # JSON is YAML.
    return {
        "user-data": "#cloud-config\n" + json.dumps(user_data, indent=1) + "\n",
        "meta-data": json.dumps(
            {"instance-id": instance, **({"local-hostname": hostname} if hostname else {})}
        )
        + "\n",
    }


def write(image: Path, contents: Mapping[str, str], work: Work) -> None:
    """Write a small FAT disk labelled ``cidata``, with files on it."""
    with image.open("wb") as out:
        out.truncate(_SIZE)
    work.run([program("mkfs.vfat", "dosfstools"), "-n", "CIDATA", image])
    for name, text in contents.items():
        source = image.with_name(name)
        source.write_text(text)
        work.run([program("mcopy", "mtools"), "-o", "-i", image, source, f"::{name}"])
        source.unlink()


def make_key(path: Path, work: Work) -> str:
    """Make an SSH key pair for a short-lived machine. Returns the public half."""
    work.run(
        [
            program("ssh-keygen", "openssh-client"),
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "build.py",
            "-f",
            path,
        ],
    )
    return path.with_name(f"{path.name}.pub").read_text().strip()
