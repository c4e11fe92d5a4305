"""A virtual server may boot by UEFI as well as by BIOS; the other tests' machines have a BIOS."""

import subprocess
import time

import pytest

from builder.command import program
from builder.emulator import ACCELERATOR_OPTIONS, EMULATORS
from builder.needs import File

_FIRMWARE = File("/usr/share/ovmf/OVMF.fd", "ovmf")
_SECONDS = 900.0
pytestmark = pytest.mark.cloud


def test_image_boots_by_uefi(image, lab, tmp_path):
    emulator = EMULATORS["amd64"]
    overlay, console = tmp_path / "overlay.qcow2", tmp_path / "console"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image.image, overlay]
    subprocess.run(create, check=True)
    process = subprocess.Popen(
        [
            program("setpriv", "util-linux"), "--pdeathsig", "KILL", emulator.binary, *emulator.machine,
            "-accel", f"{lab.accelerator}{ACCELERATOR_OPTIONS[lab.accelerator]}", "-cpu", emulator.cpu,
            "-m", "1024", "-nodefaults", "-display", "none", "-serial", f"file:{console}",
            "-bios", _FIRMWARE.path, "-drive", f"if=virtio,format=qcow2,file={overlay}",
        ]
    )  # fmt: skip
    try:
        until = time.monotonic() + _SECONDS
        said = ""
        # Its init runs: firmware, GRUB, kernel, initrd and root file system have found each other.
        while "systemd[1]: " not in said:
            assert process.poll() is None, f"QEMU ended: {said[-500:]}"
            assert time.monotonic() < until, f"no init within {_SECONDS:.0f} s: {said[-500:]}"
            time.sleep(0.5)
            said = console.read_text(errors="replace")
        assert "efi: EFI v" in said
    finally:
        process.kill()
        process.wait()
