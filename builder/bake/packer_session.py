"""The process that holds Packer: ``python -m builder.packer_session JSON``.

packer.py waits for Packer and gives no handle to end it; a process around it, in a session of
its own, can be ended as a group.
"""

import json
import signal
import sys

import packerpy


def main() -> int:
    """Run the request of :func:`builder.bake.packer.call`; Packer's exit code is this one's."""
    request = json.loads(sys.argv[1])
    # Packer gets the signal too, and cleans up; this process is to outlast it. (A handler, not
    # SIG_IGN, which Packer would inherit.)
    signal.signal(signal.SIGTERM, lambda *_: None)
    packer = packerpy.PackerExecutable(
        executable_path=request["executable"],
        config={"stdout": sys.stdout.fileno(), "stderr": sys.stdout.fileno()},
    )
    # By the command's name: packer.py has no method for `init`, which came after it.
    code, _, _ = packer.execute_cmd(request["command"], request["template"], **request["options"])
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
