"""A machine that is looked at until its init runs, by hand: by another firmware, from another file."""

import subprocess
import threading
import time
from pathlib import Path

from lab import Lab, let_others_go_first

from builder.core.command import program
from builder.core.needs import File
from builder.vm.accelerator import ACCELERATOR_OPTIONS
from builder.vm.emulator import EMULATORS

_FIRMWARE = File("/usr/share/ovmf/OVMF.fd", "ovmf")
_SECONDS = 1800.0
INIT_RUNS = "systemd[1]: "


class Beginning:
    """It is ended as soon as its init runs: firmware, GRUB, kernel, initrd and root have found each other."""

    def __init__(self, lab: Lab, name: str, disk: Path, driver: str = "qcow2", uefi: bool = False) -> None:
        """:param driver: QEMU's name of what the disk's file is."""
        emulator = EMULATORS[lab.image.facts.architecture]
        # A board that has no BIOS brings its own.
        firmware = emulator.firmware or (_FIRMWARE if uefi else None)
        work = lab.work / name
        work.mkdir()
        overlay, self._console = work / "overlay.qcow2", work / "console"
        self._console.touch()
        create = [program("qemu-img", "qemu-utils"), "create", "-q", "-f", "qcow2", "-F", driver, "-b", disk]
        subprocess.run([*create, overlay], check=True)
        self._process = subprocess.Popen(
            [
                program("setpriv", "util-linux"), "--pdeathsig", "KILL", emulator.binary, *emulator.machine,
                "-accel", f"{lab.accelerator}{ACCELERATOR_OPTIONS[lab.accelerator]}",
                "-cpu", emulator.cpu(lab.accelerator), "-m", "1024", "-nodefaults",
                "-display", "none", "-serial", f"file:{self._console}",
                *(["-bios", firmware.path] if firmware else []),
                "-drive", f"if=virtio,format=qcow2,file={overlay},cache=unsafe",
            ],
            start_new_session=True,
        )  # fmt: skip
        let_others_go_first(self._process)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        until = time.monotonic() + _SECONDS
        while INIT_RUNS not in self._said() and self._process.poll() is None and time.monotonic() < until:
            time.sleep(0.5)
        self.end()

    def _said(self) -> str:
        return self._console.read_text(errors="replace")

    def said(self) -> str:
        """What it says until its init runs, or until it ends without one."""
        self._watcher.join()
        return self._said()

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
