"""Programs of another architecture, by qemu-user and the kernel's binfmt_misc."""

import os
import subprocess
import sys

import pytest

from builder.core import paths


@pytest.mark.skipif(os.geteuid() != 0, reason="only root registers interpreters")
def test_what_is_registered_already_is_taken_as_it_is():
    """Each in a /proc of its own, as in a container, where nothing is mounted on it yet."""
    script = (
        f"import sys; sys.path.insert(0, {str(paths.ROOT)!r})\n"
        "from builder.bases import interpreter\n"
        "interpreter.require('arm64'); interpreter.require('amd64'); print('good')\n"
    )
    for _ in range(2):
        done = subprocess.run(
            [
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-c", script),
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stdout == "good\n", done.stderr
