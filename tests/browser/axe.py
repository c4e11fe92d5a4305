"""axe-core, the accessibility checker, fetched once with npm.

https://github.com/dequelabs/axe-core
"""

import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

from builder.core.needs import Package, Program
from builder.core.paths import cache_dir

NEEDS = (
    Program("npm", "npm", optional=True),
    Package("ca-certificates"),
)

VERSION = "4.10.3"
# Of the package that npm serves.
SHA256 = "0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Axe:
    """Checks pages against WCAG 2.2 AA, and what is good practice."""

    def __init__(self):
        self._script = script().read_text(encoding="utf-8")

    def violations(self, page):
        """What is wrong with a page: a line each."""
        # The page's own policy keeps foreign scripts out; this goes past it, by the debugger.
        page.evaluate(self._script)
        found = page.evaluate(
            "tags => axe.run({runOnly: {type: 'tag', values: tags}}).then(result => result.violations)", TAGS
        )
        return [
            f"{violation['id']}: {violation['help']}: {node['html']} {node['failureSummary']}"
            for violation in found
            for node in violation["nodes"]
        ]


def script():
    """axe.min.js, in build.py's cache."""
    path = cache_dir() / f"axe-core-{VERSION}.min.js"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                ["npm", "pack", "--silent", f"axe-core@{VERSION}"],
                cwd=folder,
                check=True,
                capture_output=True,
            )
            (archive,) = Path(folder).glob("*.tgz")
            data = archive.read_bytes()
            assert hashlib.sha256(data).hexdigest() == SHA256, "this is not the axe-core that was asked for"
            with tarfile.open(archive) as tar:
                content = tar.extractfile("package/axe.min.js").read()
        partial = path.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(path)
    return path
