"""Whether this machine can accelerate what QEMU runs: by KVM, or not at all (TCG, in software)."""

import os
import platform
import selectors
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from builder.core import cache, paths
from builder.core.command import output, program
from builder.core.errors import BuildError
from builder.core.progress import say, step
from builder.vm.emulator import EMULATORS, Emulator

ACCELERATORS = ("auto", "kvm", "tcg")
_PROBE_SECONDS = 10.0
_NO_SECONDS = 3600.0
_KERNEL_IS_UP = b"Kernel panic - not syncing: VFS"
"""A kernel without a root file system ends so, once everything before that has worked."""

ACCELERATOR_OPTIONS = {"kvm": "", "tcg": ",thread=multi,tb-size=1024"}
"""What follows the accelerator's name in -accel; tb-size is the translation cache in MiB."""


def choose(wanted: str, architecture: str, kernel: Callable[[], Path]) -> str:
    """``kvm`` or ``tcg``.

    ``auto`` takes KVM only when a guest really comes up with it: nested in another machine,
    /dev/kvm can be there and hang every kernel. A yes is kept until the next reboot, a no for an hour: a
    machine that is busy may only have been too slow.

    :param kernel: gives a kernel of the architecture, if one must be tried.
    :raises BuildError: ``kvm`` was asked for and can't be.
    """
    if wanted == "tcg":
        return "tcg"
    emulator = EMULATORS[architecture]
    why_not = _obstacle(emulator)
    if why_not is None:
        answer = _kept_answer(architecture)
        said = answer.read_text() if answer.exists() else None
        if said == "" or (said and answer.stat().st_mtime > time.time() - _NO_SECONDS):
            why_not = said or None
        else:
            with step("Trying KVM", lambda: "Tried KVM"):
                why_not = _try_guest(emulator, kernel())
            cache.write_text(answer, why_not or "")
    if why_not is None:
        say("Accelerator: KVM")
        return "kvm"
    if wanted == "kvm":
        raise BuildError(f"KVM can't be used: {why_not}", "Use --accel tcg: slower, and it works everywhere")
    say(f"Accelerator: TCG, which emulates in software ({why_not})")
    return "tcg"


def _obstacle(emulator: Emulator) -> str | None:
    if platform.machine() not in emulator.native:
        return f"this machine is {platform.machine()}"
    if not Path("/dev/kvm").exists():
        return "there is no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm can't be opened: is this user in the group kvm?"
    return None


def _kept_answer(architecture: str) -> Path:
    version = output([program(EMULATORS[architecture].binary, EMULATORS[architecture].package), "--version"])
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    wanted = cache.digest(architecture, version, boot)
    store = paths.cache_dir() / "kvm"
    store.mkdir(exist_ok=True)
    return store / wanted[:16]


def _try_guest(emulator: Emulator, kernel: Path) -> str | None:
    """Start a kernel without a disk and see it reach the point where it wants one. Returns why not."""
    guest = subprocess.Popen(
        [program(emulator.binary, emulator.package), *emulator.machine, "-accel", "kvm", "-cpu",
         emulator.cpu("kvm"), "-m", "512", "-nodefaults", "-display", "none", "-no-reboot",
         "-serial", "stdio", "-kernel", str(kernel),
         "-append", f"console={emulator.console} panic=-1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert guest.stdout is not None  # noqa: S101
    printed = b""
    until = time.monotonic() + _PROBE_SECONDS
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(guest.stdout, selectors.EVENT_READ)
            while time.monotonic() < until and selector.select(until - time.monotonic()):
                chunk = os.read(guest.stdout.fileno(), 65536)
                if not chunk:
                    break
                printed += chunk
                if _KERNEL_IS_UP in printed:
                    return None
        said = [line for line in printed.decode(errors="replace").splitlines() if emulator.binary in line]
        return said[0] if said else f"a guest did not come up with it within {_PROBE_SECONDS:.0f} s"
    finally:
        guest.kill()
        guest.wait()
