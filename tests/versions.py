"""The application as it was, out of this repository's history."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

from builder.core.needs import Program
from builder.core.paths import ROOT
from microblog import revisions

NEEDS = (Program("git", "git"),)
FILES = {path.name.partition("_")[0]: path for path in revisions.FOLDER.glob("*_*.py")}


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def before(revision: str, folder: Path) -> Path:
    """The application as it was before the commit that brought this migration, or a later one.

    :return: ``folder``, in which it is by then.
    """
    names = [str(path.relative_to(ROOT)) for number, path in FILES.items() if number >= revision]
    added = _git("log", "--diff-filter=A", "--format=%H", "--", *names).decode().split()
    tree = _git("archive", f"{added[-1]}^" if added else "HEAD", "microblog", "setup.cfg")
    with tarfile.open(fileobj=BytesIO(tree)) as tar:
        tar.extractall(folder)  # noqa: S202 - of this repository's own
    assert not list(folder.glob(f"microblog/migrations/versions/{revision}_*"))
    return folder
