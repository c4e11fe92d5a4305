"""What build.py is given by whoever starts it, made the same for everybody."""

import os
import sys

_SYSTEM = ("/usr/sbin", "/sbin")
# What another Python is told, as its own packages: they would stand before those of build.py's environment.
_OF_PYTHON = ("PYTHONPATH", "PYTHONHOME")


def settle() -> None:
    """Set the umask, complete PATH, and leave out what was not meant: of this process, and of all it starts.

    What is made is for others to read, images' own files too; what is secret has a mode of its own.
    Who has become root by su(1) has a user's PATH, in which dpkg does not find what it runs.
    An empty HOME is none. Where a standard stream is closed, the next file that is opened would be it.
    """
    _open_streams()
    os.umask(0o022)
    for name in (*_OF_PYTHON, *(["HOME"] if not os.environ.get("HOME") else [])):
        os.environ.pop(name, None)
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*path, *(folder for folder in _SYSTEM if folder not in path)])


def _open_streams() -> None:
    """What is closed of stdin, stdout and stderr goes to /dev/null."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))
