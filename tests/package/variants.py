"""Other versions of the package: the built one with a few files changed."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from microblog.host.database import schema

HEAD = max(schema.known(schema.migrations())[1])
ADD = 'if missing.table("extra"):\n    op.create_table("extra", sa.Column("x", sa.Integer()))'
# Given a version and files as :func:`variant` takes them, the .deb.
Versions = Callable[[str, dict[str, str]], Path]
MODULES = "usr/lib/python3/dist-packages/microblog"


def variant(deb: Path, folder: Path, version: str, files: dict[str, str]) -> Path:
    """Repack the package as another version.

    :param files: contents of files below the ``microblog`` package.
    :return: the .deb, in ``folder``.
    """
    tree = folder / version
    shutil.rmtree(tree, ignore_errors=True)
    subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*", f"Version: {version}", control.read_text()))
    for name, text in files.items():
        (tree / MODULES / name).write_text(text)
    known = sorted(
        path.name.partition("_")[0] for path in (tree / MODULES / "migrations/versions").glob("*_*.py")
    )
    preinst = tree / "DEBIAN/preinst"
    preinst.write_text(re.sub(r"(?m)^REVISIONS=.*", f'REVISIONS="{" ".join(known)}"', preinst.read_text()))
    made = folder / f"microblog_{version}_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, made],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return made


def migration(revision: str, after: str, body: str, back: str = "") -> dict[str, str]:
    """A file with a migration.

    :param body: of its ``upgrade``, unindented.
    :param back: of its ``downgrade``; with one, it says that it only expands.
    """
    indented, taken_back = (
        "".join(f"    {line}\n" for line in text.strip().splitlines()) for text in (body, back)
    )
    expands = f"expands = True\n\n\ndef downgrade():\n{taken_back}" if back else ""
    text = (
        "import os, time\nimport sqlalchemy as sa\nfrom alembic import op\nfrom microblog import missing\n\n"
        f'revision = "{revision}"\ndown_revision = "{after}"\nbranch_labels = None\ndepends_on = None\n'
        f"{expands}\n\ndef upgrade():\n{indented}"
    )
    return {f"migrations/versions/{revision}_test.py": text}
