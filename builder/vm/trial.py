"""Try an image out: boot it and leave it running until Ctrl-C."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from builder.core import cache, paths
from builder.core.errors import BuildError
from builder.core.ports import require_free
from builder.core.progress import duration, say, step
from builder.core.work import Work
from builder.disk import kernel
from builder.results import library
from builder.vm import drive, machine
from builder.vm.accelerator import choose


def run(
    image: str,
    keep: Path | None,
    memory_mb: int | None,
    ssh_key: Path | None,
    ports: Mapping[str, int],
    accelerator: str,
) -> None:
    """Boot an image, print its URL and its ssh command, wait for Ctrl-C, shut it down.

    :param keep: a directory for a disk that lasts; else it is thrown away.
    :param memory_mb: None for what the image's manifest says.
    :param ssh_key: a private key; None makes one.
    :param ports: on 127.0.0.1, by service; free ones for those not given.
    :raises BuildError: a port is taken, the key is not there, the machine stops by itself.
    """
    require_free({f"--{service}-port": port for service, port in ports.items()})
    if ssh_key is not None and not ssh_key.is_file():
        raise BuildError(f"there is no key {ssh_key}", "Make one with: ssh-keygen -t ed25519")
    found = library.find(image)
    if keep:
        _note_image(keep, found.facts.image.sha256)
    paths.OUT.mkdir(parents=True, exist_ok=True)
    with cache.scratch(paths.OUT / "work") as own:
        work = Work.at(own)
        facts = found.facts
        chosen = choose(accelerator, facts.architecture, lambda: kernel.of_image(found.image, work))
        directory = keep or work / "machine"
        with machine.boot(
            found.image,
            directory,
            architecture=facts.architecture,
            accelerator=chosen,
            user=facts.user,
            memory_mb=memory_mb or facts.memory_mb,
            key=ssh_key.resolve() if ssh_key else None,
            ports=ports,
            scheme=facts.scheme,
        ) as running:
            say(f"Serial console: {running.serial_log}")
            with step(f"Booting {found.image.name}", "The site is up") as now:
                seconds = running.wait_for_site(now)
            say(f"From power-on to the first answer: {duration(seconds)}. Ctrl-C ends the machine.")
            print(running.url)
            print(shlex.join(running.ssh), flush=True)
            try:
                code = running.process.wait()
            except KeyboardInterrupt:
                with step("Shutting down", "Shut down"):
                    running.power_off()
                return
            if code != 0:
                raise BuildError(
                    f"QEMU ended: {machine.qemu_words(directory)}", f"Its console: {running.serial_log}"
                )


def _note_image(directory: Path, checksum: str) -> None:
    """Note which image a disk that lasts is of.

    :raises BuildError: it is of another. Laid on this one, two file systems would be mixed; a card's would
        go on as it was, under this one's name.
    """
    note = directory / "image.sha256"
    noted = note.read_text().strip() if note.exists() else ""
    there = any((directory / disk).exists() for disk in (drive.OVERLAY, drive.CARD))
    if there and noted != checksum:
        raise BuildError(
            f"the disk in {directory} was made with another image, and can't be used with this one",
            "Take another directory; the disk there is of use with its own image alone",
        )
    paths.make_named(directory, "--keep")
    cache.write_text(note, f"{checksum}\n")
