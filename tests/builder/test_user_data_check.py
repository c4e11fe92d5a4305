"""What the image says of user data that do nothing, with a cloud-init that is made up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.core import paths

SCRIPT = paths.PACKER / "files/tune/usr/local/sbin/user-data-check"
SCHEMA = {"$defs": {f"cc_{name}": {"properties": {name: {}}} for name in ("runcmd", "snap", "chef")}}
SYSTEM = {"cloud_init_modules": [], "cloud_config_modules": ["runcmd", "snap"], "cloud_final_modules": []}


@pytest.mark.parametrize(
    "key, snap, said",
    [
        ("runcmd", False, ""),
        ("chef", False, "The user data has 'chef', which does nothing: module chef is not run here\n"),
        (
            "runcmmd",
            False,
            "The user data has 'runcmmd', which does nothing: cloud-init knows no such word\n",
        ),
        (
            "snap",
            False,
            "The user data has 'snap', which does nothing: snap is not installed: apt-get install snapd\n",
        ),
        ("snap", True, ""),
    ],
)
def test_user_data_that_do_nothing_are_named(tmp_path: Path, key: str, snap: bool, said: str) -> None:
    schemas = tmp_path / "modules/cloudinit/config/schemas"
    schemas.mkdir(parents=True)
    (schemas / "schema-cloud-config-v1.json").write_text(json.dumps(SCHEMA))
    for module, text in {
        "yaml.py": "import json\nsafe_load = json.loads\n",
        "cloudinit/__init__.py": "",
        "cloudinit/config/__init__.py": "",
        "cloudinit/util.py": f"def read_conf_with_confd(path):\n    return {SYSTEM!r}\n",
    }.items():
        (tmp_path / "modules" / module).write_text(text)
    (tmp_path / "cloud-config.txt").write_text(json.dumps({key: {}}))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, there in (("locale", True), ("snap", snap)):
        if there:
            (programs / name).write_text("#!/bin/sh\necho C\n")
            (programs / name).chmod(0o755)
    script = tmp_path / "user-data-check"
    script.write_text(SCRIPT.read_text().replace("/var/lib/cloud/instance", str(tmp_path)))
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "modules"), "PATH": str(programs)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == said
