"""Machines booted from the image, side by side where this computer has room for them."""

import functools
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.core.progress import say
from builder.results import library
from builder.vm import machine

# Their number at once; that which boots by UEFI is small, and soon gone.
_MACHINES = 2
# What QEMU takes beside a machine's memory: what it has translated, and the rest of it.
_EMULATORS_MB = 1200
_LATER = 5  # nice(1)


@functools.cache
def side_by_side(memory_mb: int) -> bool:
    """Whether this computer has room for several machines at once: processors, and memory that is free.

    :param memory_mb: of each. The first answer stays.
    """
    # proc(5), meminfo
    available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    free_mb = int(available[1]) // 1024 if available else 0
    return len(os.sched_getaffinity(0)) > 1 and free_mb > _MACHINES * (memory_mb + _EMULATORS_MB)


def let_others_go_first(emulator: "subprocess.Popen[bytes]") -> None:
    """Tests wait for other machines than this one.

    :param emulator: QEMU, in a session of its own.
    """
    os.setpriority(os.PRIO_PGRP, emulator.pid, _LATER)


class Lab:
    """Boots machines, and keeps what their consoles said."""

    def __init__(
        self,
        image: library.Result,
        accelerator: str,
        work: Path,
        logs: Path,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """:param on_failure: is done before a machine goes that did not come up."""
        self.image, self.accelerator, self.work, self.logs = image, accelerator, work, logs
        self._on_failure = on_failure
        self.side_by_side = side_by_side(image.facts.memory_mb)
        self._begun: list[machine.Machine] = []
        self._consoles: dict[Path, Path] = {}

    @contextmanager
    def boot(
        self,
        name: str,
        named: bool = True,
        memory_mb: int | None = None,
        console: str | None = None,
        later: bool = False,
        **options,
    ) -> Iterator[machine.Machine]:
        """Start a machine; end it when the block is left.

        :param named: whether it is told its name, or has the image's.
        :param later: for tests that come later: where there is no room beside the others, it takes their
            place, and where there is, they go first.
        :param console: what the file of what it said is called, if not by its name.
        """
        # Of the machine whose disk this one takes over.
        self._keep_console(self.work / name)
        self._consoles[self.work / name] = self.logs / f"{console or name}.console"
        if later and not self.side_by_side:
            self.power_off()
        facts = self.image.facts
        with machine.boot(
            self.image.image,
            self.work / name,
            architecture=facts.architecture,
            accelerator=self.accelerator,
            user=facts.user,
            memory_mb=memory_mb or facts.memory_mb,
            hostname=name if named else None,
            scheme=facts.scheme,
            **options,
        ) as running:
            if later:
                let_others_go_first(running.process)
            self._begun.append(running)
            try:
                yield running
            except Exception:
                self._on_failure()
                raise
            finally:
                self._keep_console(running.directory)

    def _keep_console(self, directory: Path) -> None:
        log, kept = directory / "serial.log", self._consoles.pop(directory, None)
        if kept and log.exists():
            shutil.copyfile(log, kept)

    def _running(self) -> list[machine.Machine]:
        return [one for one in self._begun if one.process.poll() is None]

    def let_somebody_look(self) -> None:
        """Say how to get into the machines that still run, and leave them until Ctrl-C.

        :raises KeyboardInterrupt: then.
        """
        if running := self._running():
            say("Tests failed. The machines are kept until Ctrl-C; to get into one, or to read its console:")
            for one in running:
                say(f"  {one.directory.name}: {shlex.join(one.ssh)}")
                say(f"  {' ' * len(one.directory.name)}  less {shlex.quote(str(one.serial_log))}")
            signal.pause()

    def power_off(self) -> None:
        """End all machines."""
        for one in self._running():
            one.power_off()
