"""Which QEMU runs an architecture."""

from dataclasses import dataclass

from builder.core.needs import File, Program
from builder.defs.architecture import NATIVE


@dataclass(frozen=True)
class Emulator:
    """A QEMU and its options for one architecture."""

    qemu: Program
    machine: tuple[str, ...]
    """Arguments that choose the board."""
    console: str
    """The kernel's name of the serial console."""
    architecture: str
    emulated: str = ""
    """What the processor's name is followed by under emulation; with KVM it is this machine's own."""

    @property
    def native(self) -> tuple[str, ...]:
        """Build machines, as platform.machine() names them, whose KVM runs it."""
        return NATIVE[self.architecture]

    firmware: File | None = None
    """What starts a disk, where the board brings none of its own."""

    def cpu(self, accelerator: str) -> str:
        """The -cpu argument: all that an accelerator can do. :param accelerator: ``kvm`` or ``tcg``."""
        return f"max{self.emulated if accelerator == 'tcg' else ''}"

    @property
    def firmware_arguments(self) -> list[str]:
        """The arguments that choose it.

        :raises BuildError: it is not there.
        """
        return ["-bios", str(self.firmware.path)] if self.firmware else []

    @property
    def binary(self) -> str:
        """The name of the program."""
        return self.qemu.name

    @property
    def package(self) -> str:
        """The package that has it."""
        return self.qemu.package


EMULATORS = {
    "amd64": Emulator(
        qemu=Program("qemu-system-x86_64", "qemu-system-x86"),
        machine=("-machine", "q35"),
        console="ttyS0",
        architecture="amd64",
    ),
    "arm64": Emulator(
        qemu=Program("qemu-system-aarch64", "qemu-system-arm"),
        machine=("-machine", "virt"),
        console="ttyAMA0",
        architecture="arm64",
        # Pointer authentication in software is slow, and nothing here needs it to be strong.
        emulated=",pauth-impdef=on",
        firmware=File("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd", "qemu-efi-aarch64"),
    ),
}
