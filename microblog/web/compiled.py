"""Templates as Jinja has compiled them, kept by the package: a third of what a small machine's start takes.

As with Python's byte code, root makes them when the package, or a library, is installed, and the application
only reads. What does not fit is compiled as it always was: each piece has the checksum of the text that it is
of, and the version of Jinja's and Python's byte code.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from jinja2 import FileSystemBytecodeCache
from jinja2.bccache import Bucket

from microblog.config import Config

FOLDER = Path("/var/cache/microblog/templates")


class Compiled(FileSystemBytecodeCache):
    """Jinja's, that writes nothing."""

    def __init__(self, folder: Path = FOLDER) -> None:
        super().__init__(str(folder))

    def load_bytecode(self, bucket: Bucket) -> None:
        try:
            super().load_bytecode(bucket)
        except Exception:
            # One that may not be read, or that a power cut has cut short, is as none.
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        """The application's user may not change what runs."""


def make(folder: Path = FOLDER) -> int:
    """Compile them all, anew. Returns how many there are.

    :raises OSError: the folder cannot be written.
    """
    from microblog import create_app

    os.umask(0o022)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755, parents=True)
    # What is compiled depends on no setting.
    environment: Any = create_app(Config(secret_key="-", database_url="sqlite://")).jinja_env  # noqa: S106
    environment.bytecode_cache = FileSystemBytecodeCache(str(folder))
    names = environment.list_templates(extensions=["html"])
    for name in names:
        environment.get_template(name)
    for path in folder.iterdir():
        path.chmod(0o644)
    return len(names)


if __name__ == "__main__":
    make()
