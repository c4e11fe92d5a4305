"""Start an SD card's image on QEMU's Raspberry Pi 3 and report how far it gets.

QEMU's board has no network, so that its serial consoles are all there is to see: the kernel writes to the
first (PL011), somebody could log in on the second (mini UART), as on a real Pi's pins
(https://www.qemu.org/docs/master/system/arm/raspi.html).
"""

import subprocess
import time
from pathlib import Path

from builder.core import cache, paths
from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.progress import Step, step
from builder.core.work import Work
from builder.disk import bootfs, fat, media
from builder.results import library
from builder.vm import drive, seed
from builder.vm.accelerator import ACCELERATOR_OPTIONS
from builder.vm.emulator import EMULATORS
from builder.vm.machine import plain, user_data

_ARCHITECTURE = "arm64"
_TREE = "bcm2837-rpi-3-b.dtb"
_SECONDS = 3600.0
_POLL_SECONDS = 1.0
# QEMU's has no clock: it resets the board as soon as it is set (hw/misc/bcm2835_powermgt.c).
_NO_WATCHDOG = "systemd.watchdog_sec=0"
_CONSOLES = ("board.console", "board-login.console")
# What is looked for on the consoles, in the order in which it is expected. What systemd starts after somebody
# could log in, supervisor too, it does not print; the last line is printed when gunicorn answers.
MILESTONES = {
    "the kernel starts": "Linux version",
    "it knows the board": "Raspberry Pi 3",
    "the card is found": "mmcblk0",
    "the root file system is mounted": "EXT4-fs (mmcblk0p2): mounted",
    "systemd starts": "Welcome to",
    "microblog.txt is read": "Finished microblog-card.service",
    "somebody could log in": " login:",
    "the screen says that the site is up": "The site is up",
}
_LAST = list(MILESTONES)[-1]


def watch(image: library.Result, seconds: float = _SECONDS) -> dict[str, float | None]:
    """Start the image and watch its consoles until they say that the site is up.

    :return: seconds from power-on to each milestone, None for what was not seen.
    :raises BuildError: the image is no card's, or QEMU can't start.
    """
    if media.suffix(image.image) != media.CARD:
        raise BuildError(f"{image.image.name} is no SD card's image", "Use: ./build.py check pi --board")
    paths.OUT.mkdir(parents=True, exist_ok=True)
    consoles = [library.log_directory(image.image) / name for name in _CONSOLES]
    for console in consoles:
        console.unlink(missing_ok=True)
    with cache.scratch(paths.OUT / "work") as directory:
        work = Work.at(directory)
        process = _start(image.image, work, consoles)
        try:
            with step("Starting it on a Raspberry Pi 3 of QEMU's", "Watched a Raspberry Pi 3 start") as now:
                return _watch(process, consoles, seconds, now)
        finally:
            process.kill()
            process.wait()


def _start(image: Path, work: Work, consoles: list[Path]) -> "subprocess.Popen[bytes]":
    public = seed.make_key(work / "key", work)
    files = seed.files(user_data(public), "board", None)
    # The board takes cards of a power of two alone.
    arguments = drive.make(drive.Wanted(image, work.directory, 8 << 30, _ARCHITECTURE, files), work)
    tree = work / _TREE
    disk = work / "card.img"
    tree.write_bytes(fat.read(disk, bootfs.start(disk), _TREE, work))
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    emulator = EMULATORS[_ARCHITECTURE]
    append = f"{given['-append']} {_NO_WATCHDOG}"
    serials = [word for console in consoles for word in ("-serial", f"file:{console}")]
    return subprocess.Popen(
        [program("setpriv", "util-linux"), "--pdeathsig", "KILL",
         program(emulator.binary, emulator.package), "-machine", "raspi3b",
         "-accel", f"tcg{ACCELERATOR_OPTIONS['tcg']}", "-display", "none", "-no-reboot", *serials,
         "-dtb", tree, "-kernel", given["-kernel"], "-initrd", given["-initrd"], "-append", append,
         "-drive", f"if=sd,format=raw,file={disk}"],
        stdin=subprocess.DEVNULL, stdout=work.log.open("ab"), stderr=subprocess.STDOUT,
    )  # fmt: skip


def _watch(
    process: "subprocess.Popen[bytes]", consoles: list[Path], seconds: float, now: Step
) -> dict[str, float | None]:
    seen: dict[str, float | None] = dict.fromkeys(MILESTONES)
    began = time.monotonic()
    while seen[_LAST] is None and time.monotonic() < began + seconds and process.poll() is None:
        printed = plain("".join(one.read_text(errors="replace") for one in consoles if one.exists()))
        for milestone, words in MILESTONES.items():
            if seen[milestone] is None and words in printed:
                seen[milestone] = round(time.monotonic() - began, 1)
                now.update(milestone)
        time.sleep(_POLL_SECONDS)
    if process.poll() is not None and seen["the kernel starts"] is None:
        raise BuildError(f"QEMU ended with exit code {process.returncode}", "Is its raspi3b board there?")
    return seen


def require_up(seen: dict[str, float | None], image: Path) -> None:
    """:raises BuildError: the site was not seen to come up."""
    if seen[_LAST] is None:
        last = next(
            (milestone for milestone in reversed(MILESTONES) if seen[milestone] is not None), "nothing"
        )
        raise BuildError(
            f"the site did not come up on the board: the last that was seen is: {last}",
            f"Look at what its consoles say: {library.log_directory(image) / _CONSOLES[0]}",
        )


def table(seen: dict[str, float | None]) -> str:
    """What was seen, as people read it."""
    return "\n".join(
        f"{milestone:<36}" + (f"{seconds:>8.1f} s" if seconds is not None else "not seen")
        for milestone, seconds in seen.items()
    )
