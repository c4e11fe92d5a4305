"""The machine's agent, on a folder of its own: uploads and the list of backups are real, jobs only begin."""

import os
import subprocess
import sys
from pathlib import Path

from microblog import protocol
from microblog.host.agent import jobs, logs, seen, serve
from microblog.host.backups import places
from microblog.host.machine import layout, services

FOLDER = Path(sys.argv[1])
NAME = "microblog-20260101T000000Z-manual.tar.gz"


def main():
    os.umask(0o022)
    jobs.STATE, jobs.RUN = FOLDER / "state", FOLDER / "run"
    layout.BACKUPS, logs.AUDIT = FOLDER, FOLDER / "agent.log"
    places.FOLDER = FOLDER / "elsewhere"
    protocol.SEEN = FOLDER / "seen.json"
    layout.user_ids = lambda: (os.getuid(), os.getgid())
    seen.status, seen.doctor = dict, list
    # systemd's part: what has begun goes on.
    services.state = lambda _unit: "active" if (jobs.STATE / "job.json").exists() else "inactive"
    run = services.run
    services.run = lambda *command: (
        run(*command) if command[0] == "ssh-keygen" else subprocess.CompletedProcess(command, 0, "")
    )
    (FOLDER / NAME).write_bytes(b"x" * 2**20)
    logs.AUDIT.write_text("a line\n")
    serve._Server(str(FOLDER / "socket"), serve._Handler).serve_forever()


main()
