"""What piuparts says of install, upgrade and purge."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from database_servers import mirror
from nspawn import RELEASES
from variants import variant

pytestmark = pytest.mark.thorough


@pytest.fixture
def archive(base: Path, deb: Path, tmp_path: Path) -> Iterator[Path]:
    """A directory with an older version and an index, as apt takes one."""
    folder = tmp_path / "archive"
    folder.mkdir()
    shutil.move(variant(deb, tmp_path, "0.0.1", {}), folder)
    index = subprocess.run(["dpkg-scanpackages", "."], cwd=folder, capture_output=True, text=True, check=True)
    (folder / "Packages").write_text(index.stdout)
    yield folder


def test_piuparts(base: Path, deb: Path, archive: Path, tmp_path: Path) -> None:
    release = RELEASES[base.name.rpartition("-")[0]][0]
    found = mirror(release)
    command = ["piuparts", "--existing-chroot", str(base), "--distribution", release, "--no-eatmydata"]
    command += ["--mirror", f"{found[0].split()[1]} main"] if found else []
    command += ["--tmpdir", str(tmp_path), "--bindmount", str(archive)]
    command += ["--extra-repo", f"deb [trusted=yes] file:{archive} ./"]
    done = subprocess.run([*command, str(deb)], capture_output=True, text=True)
    said = done.stdout + done.stderr
    (tmp_path / "piuparts.log").write_text(said)
    assert done.returncode == 0, said[-6000:]
    assert "PASS: Installation, upgrade and purging tests" in said
