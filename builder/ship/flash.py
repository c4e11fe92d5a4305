"""Write an image to a card: what is mapped, read back and compared, with its owner's first settings."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from builder.core.command import last_line, output, program
from builder.core.errors import BuildError
from builder.core.progress import Step, say, step
from builder.core.work import Work
from builder.disk import bmap, bootfs, fat, media
from builder.results import library
from builder.ship import card_settings
from builder.ship.block_devices import Disk, choose, listing

SETTINGS = "microblog.txt"
_CHUNK = 1 << 20
_LOOK_SECONDS = 0.5
_BLKFLSBUF = 0x1261  # linux/fs.h: forget what is buffered of a block device


def flash(
    image: str,
    device: str | None,
    settings: Mapping[str, list[str]],
    confirm: Callable[[Disk, Path], bool],
    exact: int | None = None,
) -> None:
    """Write an image to a disk.

    :param image: a path, or a definition's name.
    :param device: the disk's path; None prints which there are.
    :param settings: for microblog.txt on the card, by key.
    :param confirm: asks the owner of the disk.
    :param exact: the disk's size, for one that does not look like a card.
    :raises BuildError: the disk is not to be written to, it fails, or what is read back differs.
    """
    card_settings.check(settings)
    found = library.find(image)
    block_map_file = found.image.with_name(f"{media.stem(found.image)}.bmap")
    if not block_map_file.exists():
        raise BuildError(f"{found.image.name} is no image for a card", "Bake one with: ./build.py images pi")
    block_map = bmap.read(block_map_file)
    disk = choose(device, block_map.image_size, exact)
    if not confirm(disk, found.image):
        raise BuildError(f"{disk.path} was left as it is")
    # A question may stand for hours: another card is in the reader, or somebody has mounted this one.
    if choose(device, block_map.image_size, exact) != disk:
        raise BuildError(f"{disk.path} is another disk by now", "It was left as it is; run it again")
    with _alone(disk), tempfile.TemporaryDirectory(prefix="microblog-flash-") as directory:
        work = Work.at(Path(directory))
        with step(f"Writing to {disk.path}", f"Wrote {block_map.mapped / 1e6:.0f} MB to {disk.path}") as now:
            _write(found.image, block_map_file, disk, work, now, block_map.mapped)
        with step("Reading it back", "Read it back: every block is as it should be") as now:
            _compare(disk, block_map, now)
        if settings:
            _set(disk, settings, work)
            say(f"Wrote {', '.join(settings)} into {SETTINGS} on the card")
        _eject(disk)
    say("Done: put the card into the Raspberry Pi, power it on, and open http://microblog.local")


@contextlib.contextmanager
def _alone(disk: Disk) -> Iterator[None]:
    """Have a disk for this process alone: no desktop mounts it while it is written to and read back.

    udev leaves a disk alone for as long as somebody has locked it (https://systemd.io/BLOCK_DEVICE_LOCKING);
    it then tells nobody of what is new on it.
    """
    with disk.path.open("rb") as device:
        try:
            fcntl.flock(device, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BuildError(f"another program works on {disk.path}", "Let it end, then try again") from error
        yield


def _write(image: Path, block_map: Path, disk: Disk, work: Work, now: Step, total: int) -> None:
    log = work / "bmaptool.log"
    with log.open("wb") as out:
        writer = subprocess.Popen(
            [program("bmaptool", "bmap-tools"), "copy", "--bmap", block_map, image, disk.path],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C.UTF-8"}, start_new_session=True,
        )  # fmt: skip
    try:
        while True:
            try:
                code = writer.wait(_LOOK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                # It tells how far it is to terminals alone; the kernel knows too (proc(5), io).
                now.update(fraction=_written(writer.pid) / total)
    except BaseException:
        os.killpg(writer.pid, signal.SIGTERM)
        writer.wait()
        raise
    if code != 0:
        _require_unused(disk)
        said = re.sub(r"^bmaptool: (ERROR: )?", "", last_line(log))
        raise BuildError(
            f"{disk.path} could not be written: {said}",
            "Is the card still in? Try again; if it fails again, take another card or reader",
        )


def _written(pid: int) -> int:
    """Bytes that a process has caused to be written."""
    try:
        found = re.search(r"^write_bytes: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1]) if found else 0


def _compare(disk: Disk, block_map: bmap.BlockMap, now: Step) -> None:
    """Compare what the disk itself holds, not what is buffered of it, with the map's checksums."""
    done = 0
    try:
        # Nobody else can mount it now (open(2): O_EXCL on a block device).
        with os.fdopen(os.open(disk.path, os.O_RDONLY | os.O_EXCL), "rb", buffering=0) as device:
            os.fsync(device.fileno())
            fcntl.ioctl(device, _BLKFLSBUF)
            for part in block_map.ranges:
                digest, left = hashlib.sha256(), min(part.size, block_map.image_size - part.offset)
                device.seek(part.offset)
                while left:
                    chunk = device.read(min(left, _CHUNK))
                    if not chunk:
                        break
                    digest.update(chunk)
                    left -= len(chunk)
                    done += len(chunk)
                    now.update(fraction=done / block_map.mapped)
                if digest.hexdigest() != part.sha256:
                    raise BuildError(
                        f"{disk.path} holds something else than was written, from byte {part.offset} on",
                        "The card or its reader is bad, or the card is smaller than it says: take another",
                    )
    except OSError as error:
        _require_unused(disk)
        raise BuildError(
            f"{disk.path} can't be read back: {error.strerror}", "Is the card still in? Try again"
        ) from error


def _require_unused(disk: Disk) -> None:
    """:raises BuildError: somebody has mounted it meanwhile, or taken it away."""
    now = next((one for one in listing() if one.path == disk.path), None)
    if now is None:
        raise BuildError(f"{disk.path} is gone", "Is the card still in? Put it in, and try again")
    if now.why_not:
        raise BuildError(
            f"{disk.path} could not be finished: {now.why_not}",
            "Nothing is known to be wrong with the card: unmount it, keep the desktop from it, try again",
        )


def with_settings(text: str, settings: Mapping[str, list[str]]) -> str:
    """microblog.txt with lines set: each takes the place of the commented line of its key.

    :raises BuildError: the file has no such line.
    """
    for key, values in settings.items():
        lines = "".join(f"{key} = {card_settings.written(value)}\r\n" for value in values)
        text, count = re.subn(rf"^#{key} =.*\r?\n", lambda _: lines, text, count=1, flags=re.MULTILINE)  # noqa: B023
        if not count:
            raise BuildError(f"{SETTINGS} on the card has no line for {key!r}", "Is the image a newer one?")
    return text


def _set(disk: Disk, settings: Mapping[str, list[str]], work: Work) -> None:
    boot = bootfs.start(disk.path)
    text = fat.read(disk.path, boot, SETTINGS, work).decode()
    file = work / SETTINGS
    file.write_bytes(with_settings(text, settings).encode())
    fat.copy_in(disk.path, boot, [file], work)
    if fat.read(disk.path, boot, SETTINGS, work) != file.read_bytes():
        raise BuildError(f"{SETTINGS} could not be written to {disk.path}", "Take another card")
    with disk.path.open("rb") as device:
        os.fsync(device.fileno())


def _eject(disk: Disk) -> None:
    # Where there is no such program, which nobody needs to install for it, or no tray: all is on the card.
    if eject := shutil.which("eject"):
        with contextlib.suppress(BuildError):
            output([eject, str(disk.path)])
