"""The pictures in docs/ are what the pages look like: their script still finds its way through them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import screenshots

# Of all pictures, so that a checkout stays small.
BYTES_MAX = 600_000


def test_each_picture_is_made_by_the_script_and_shown_somewhere():
    made = {f"{name}.png" for name in (*screenshots.SHOTS, *screenshots.OWNERS)}
    there = list(screenshots.DOCS.glob("*.png"))
    assert {path.name for path in there} == made
    assert sum(path.stat().st_size for path in there) < BYTES_MAX
    pages = [screenshots.ROOT / "README.md", *screenshots.DOCS.glob("*.md")]
    text = "".join(path.read_text(encoding="utf-8") for path in pages)
    assert set(re.findall(r"[\w-]+\.png", text)) == made


@pytest.mark.thorough
def test_the_script_makes_them(tmp_path: Path):
    # In a process of its own: there is one Playwright in each.
    code = "import screenshots, sys; from pathlib import Path; screenshots.main([], Path(sys.argv[1]))"
    path = f"{screenshots.ROOT}:{Path(__file__).parent}"
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, env={**os.environ, "PYTHONPATH": path})
    assert {path.name for path in tmp_path.iterdir()} == {
        path.name for path in screenshots.DOCS.glob("*.png")
    }
