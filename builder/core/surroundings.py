"""What build.py is given by whoever starts it, made the same for everybody."""

import os

_SYSTEM = ("/usr/sbin", "/sbin")


def settle() -> None:
    """Set the umask, and complete PATH: of this process, and of all that it starts.

    What is made is for others to read, images' own files too; what is secret has a mode of its own.
    Who has become root by su(1) has a user's PATH, in which dpkg does not find what it runs.
    """
    os.umask(0o022)
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*path, *(folder for folder in _SYSTEM if folder not in path)])
