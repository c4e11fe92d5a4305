"""The only database of a fleet, after the power went."""

import subprocess
from pathlib import Path

import galera
import machines
import pytest
from galera import Node
from test_copied import posts
from test_restore import write
from told import swapped

from builder.core import paths

_LIBRARY = paths.PACKER / "files/database/usr/local/lib/fleet"


def _begins(node: Node, folder: Path) -> bool:
    """What the image looks at before the server starts. :return: whether it is told to begin the cluster."""
    options = folder / "options"
    swaps = {
        "/usr/local/lib/fleet": str(_LIBRARY),
        "/etc/fleet": str(node.told.folder),
        "/var/lib/mysql": str(node.folder / "data"),
        "/run/fleet-mariadb": str(options),
        "/var/lib/fleet/joined": str(folder / "joined"),
    }
    script = swapped((_LIBRARY / "may-start").read_text(), swaps)
    subprocess.run(["sh", "-c", script], check=True)
    return options.exists() and "--wsrep-new-cluster" in options.read_text()


@pytest.mark.thorough
def test_the_only_database_goes_on_whatever_the_power_cut_left_of_its_files(tmp_path: Path) -> None:
    with galera.cluster(size=1) as (node,):
        machines.prepare(node, ["ada"])
        write(node, "kept")
        for name in ("gvwstate.dat", "grastate.dat"):
            for left in ("whole", "half", "empty", "zeros", "unsafe", "lost"):
                node.kill()
                path = node.folder / "data" / name
                text = path.read_bytes()
                path.write_bytes(
                    {
                        "half": text[: len(text) // 2],
                        "empty": b"",
                        "zeros": bytes(len(text)),
                        "unsafe": text.replace(b"safe_to_bootstrap: 1", b"safe_to_bootstrap: 0"),
                    }.get(left, text)
                )
                if left == "lost":
                    path.unlink()
                node.start([node], new=_begins(node, tmp_path))
                galera.wait_until(f"it serves, {name} being {left}", node.is_synced)
                assert posts(node) == ["kept"]
