"""testinfra's way to a machine: one shell of root's that stays.

An emulated machine takes a second or more for each log-in: sshd, PAM, a user's systemd, sudo.
"""

import base64
import shlex
import subprocess
from typing import Any

from testinfra.backend import base

from builder.vm.machine import Machine

# Runs each line's command, and answers with a line (its exit code, the lengths of its stdout and
# stderr) and then these two.
_SERVER = """
there=$(mktemp -d) && cd "$there" && while read -r line; do
    (cd / && eval "$line") < /dev/null > "$there/out" 2> "$there/err"
    echo "$? $(wc -c < "$there/out") $(wc -c < "$there/err")"
    cat "$there/out" "$there/err"
done
rm -r "$there"
"""
# A machine that has not been heard of for ten minutes is gone.
_PATIENCE = ("-o", "ServerAliveInterval=60", "-o", "ServerAliveCountMax=10")


class RootShell(base.BaseBackend):
    """Runs commands as root, each in a shell of its own."""

    NAME = "root-shell"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine.directory.name)
        self._machine = machine
        self._process: subprocess.Popen[bytes] | None = None

    def _connected(self) -> "subprocess.Popen[bytes]":
        # After a reboot it is gone.
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [*self._machine.ssh[:-1], *_PATIENCE, self._machine.ssh[-1],
                 shlex.join(["sudo", "sh", "-c", _SERVER])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )  # fmt: skip
        return self._process

    def run(self, command: str, *args: str, **kwargs: Any) -> base.CommandResult:
        wanted = self.encode(self.get_command(command, *args))
        process = self._connected()
        assert process.stdin
        assert process.stdout
        # On one line, whatever is in it.
        process.stdin.write(b'sh -c "$(echo %s | base64 -d)"\n' % base64.b64encode(wanted))
        process.stdin.flush()
        told = process.stdout.readline().split()
        if not told:
            raise RuntimeError(f"the machine's shell ended at {command!r}")
        code, out, err = map(int, told)
        return self.result(code, wanted, process.stdout.read(out), process.stdout.read(err))

    def end(self) -> None:
        """Log out."""
        if self._process:
            self._process.kill()
            self._process.wait()
