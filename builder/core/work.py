"""Something under way: where its half-done files are, and where the words of the programs go that it runs."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.core import cache, command


@dataclass(frozen=True)
class Work:
    """A directory for half-done files, whose names ``work / "name"`` are in it; and a log."""

    directory: Path
    log: Path

    @classmethod
    def at(cls, directory: Path) -> "Work":
        """With the log in the directory, too."""
        return cls(directory, directory / "tools.log")

    def __truediv__(self, name: str) -> Path:
        return self.directory / name

    def logging(self, suffix: str) -> "Work":
        """The same with another log beside this one. :param suffix: of its name, as ``.tools.log``."""
        return Work(self.directory, self.log.with_suffix(suffix))

    def run(
        self,
        args: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        hint: str = "",
        cwd: Path | None = None,
        good: Sequence[int] = (0,),
    ) -> None:
        """Run a program, as :func:`builder.core.command.run`, which has the parameters and what is raised."""
        command.run(args, self.log, env=env, hint=hint, cwd=cwd, good=good)


@contextmanager
def scratch(directory: Path, log: Path) -> Iterator[Work]:
    """A work in a directory of its own, which goes at the end, whatever happens; the log stays."""
    with cache.scratch(directory) as own:
        yield Work(own, log)


NOWHERE = Work(Path(os.devnull), Path(os.devnull))
"""For a program that needs no directory, and whose words are for nobody."""
