"""What everybody may know of a machine: how long it is up, its memory, its disk, how warm it is."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
_MODEL = Path("/proc/device-tree/model")


@dataclass(frozen=True)
class Facts:
    """:ivar uptime: in seconds.
    :ivar memory: and ``available``: in MiB.
    :ivar disk: and ``free``: of the root directory, in MiB.
    :ivar temperature: in degrees Celsius, where the machine tells.
    :ivar model: of the board, where it tells.
    """

    uptime: int
    memory: int
    available: int
    disk: int
    free: int
    temperature: float | None
    model: str


def look() -> Facts:
    """As they are now."""
    memory = dict(line.split(":", 1) for line in _text(_PROC / "meminfo").splitlines() if ":" in line)
    disk = shutil.disk_usage("/")
    degrees = _text(_TEMPERATURE).strip()
    return Facts(
        uptime=int(float((_text(_PROC / "uptime").split() or ["0"])[0])),
        memory=_mib(memory.get("MemTotal", "")),
        available=_mib(memory.get("MemAvailable", "")),
        disk=disk.total // 2**20,
        free=disk.free // 2**20,
        # Thousandths (the kernel's Documentation/driver-api/thermal/sysfs-api.rst).
        temperature=int(degrees) / 1000 if re.fullmatch(r"-?\d{1,9}", degrees, re.ASCII) else None,
        model=_text(_MODEL).strip("\0\n "),
    )


def _mib(text: str) -> int:
    """As /proc/meminfo has it: ``16384 kB``."""
    number = (text.split() or ["0"])[0]
    return int(number) // 1024 if number.isdigit() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
