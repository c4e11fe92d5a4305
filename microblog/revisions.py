"""The revisions of the schema that this version knows.

Read, not imported: Alembic would take seconds to come up on a slow machine, and a page that says whether this
machine can serve asks for them too.
"""

import re
from pathlib import Path

# Where the migrations are.
FOLDER = Path(__file__).parent / "migrations" / "versions"
_REVISION = re.compile(r"^(down_)?revision\b[^=\n]*=\s*(.*)$", re.MULTILINE)
_QUOTED = re.compile(r"""["']([^"']+)["']""")
_EXPANDS = re.compile(r"^expands = True$", re.MULTILINE)


def known(folder: Path = FOLDER) -> tuple[set[str], set[str]]:
    """The revisions in a folder of migrations, and those of them that nothing builds on.

    :return: all, heads.
    """
    all_revisions: set[str] = set()
    built_on: set[str] = set()
    for path in folder.glob("*.py"):
        for down, value in _REVISION.findall(path.read_text(encoding="utf-8")):
            (built_on if down else all_revisions).update(_QUOTED.findall(value))
    return all_revisions, all_revisions - built_on


def all_expand(present: set[str], folder: Path = FOLDER) -> bool:
    """Whether the version before serves on what the pending migrations make, and while they make it.

    :param present: the revisions that the schema is at.
    """
    text = {}
    for path in folder.glob("*.py"):
        said = path.read_text(encoding="utf-8")
        of_it: set[str] = set()
        on: set[str] = set()
        for down, value in _REVISION.findall(said):
            (on if down else of_it).update(_QUOTED.findall(value))
        text.update({revision: (on, bool(_EXPANDS.search(said))) for revision in of_it})
    # What the schema has, and what that was built on.
    done, left = set(), list(present & set(text))
    while left:
        revision = left.pop()
        done.add(revision)
        left += [one for one in text[revision][0] & set(text) if one not in done]
    return bool(done) and all(expands for revision, (_, expands) in text.items() if revision not in done)
