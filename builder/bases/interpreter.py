"""Programs of another architecture on this machine, by qemu-user and the kernel's binfmt_misc."""

import os
import platform
from pathlib import Path

from builder.core.command import program, run
from builder.core.errors import BuildError
from builder.core.needs import Package, Program
from builder.defs.architecture import NATIVE

# Where the package is a virtual one, what provides it registers itself just so.
NEEDS = (
    Package("qemu-user-static"),
    # mmdebstrap asks it.
    Program("arch-test", "arch-test"),
)
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_BINFMT_CONF = Path("/usr/lib/binfmt.d")
_QEMU_NAMES = {"arm64": "qemu-aarch64", "amd64": "qemu-x86_64"}
# The default processor signs pointers, in software: Python runs 13 times slower.
_ENVIRONMENTS = {"arm64": {"QEMU_CPU": "cortex-a72"}}


def environment(architecture: str) -> dict[str, str]:
    """The environment for programs of an architecture, should qemu-user run them."""
    return _ENVIRONMENTS.get(architecture, {})


def require(architecture: str) -> None:
    """See that this machine runs programs of an architecture; register qemu-user if need be.

    :raises BuildError: it does not, and can't be made to.
    """
    if platform.machine() in NATIVE[architecture]:
        return
    name = _QEMU_NAMES[architecture]
    if (_BINFMT / name).exists():
        return
    hint = f"As root: apt-get install qemu-user-static; then: systemctl restart systemd-binfmt ({name})"
    conf = _BINFMT_CONF / f"{name}.conf"
    if os.geteuid() != 0 or not conf.exists():
        raise BuildError(f"this machine can't run programs for {architecture}", hint)
    try:
        if not (_BINFMT / "register").exists():
            run([program("mount", "mount"), "-t", "binfmt_misc", "binfmt_misc", _BINFMT], Path(os.devnull))
        # A container has the kernel's, in which somebody else may have registered it.
        if not (_BINFMT / name).exists():
            (_BINFMT / "register").write_bytes(conf.read_bytes().strip())
    except OSError as error:
        raise BuildError(
            f"this machine can't run programs for {architecture}: {error.strerror}", hint
        ) from error
