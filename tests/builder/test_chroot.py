"""A bake in a chroot, on folders with spaces in their names: MICROBLOG_CACHE may be anywhere."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from builder.bake import method, packer
from builder.core import paths
from builder.core.command import program
from builder.core.work import Work

_SCRIPTS = {
    "one.sh": "set -eu\necho one > /run/packages\n",
    "two.sh": "echo two $PACKAGES >> /run/packages\nread -r line < /run/files/pi/three\n"
    "echo $line >> /run/packages\n",
}


@pytest.fixture
def place(tmp_path):
    """A folder with the provisioning scripts, a pool, and the boot partition's files."""
    here = tmp_path / "a cache of mine"
    for folder in ("provision", "files/pi", "pool", "firmware"):
        (here / folder).mkdir(parents=True)
    for name, text in _SCRIPTS.items():
        (here / "provision" / name).write_text(text)
    (here / "files/pi/three").write_text("three\n")
    return here


def _disk(here: Path) -> tuple[Path, int]:
    """A disk with a system that is no more than a shell. Returns it, and its root file system's size."""
    root, disk, size = here / "root-of-disk", here / "disk.raw", 24 << 20
    for folder in ("bin", "proc", "sys", "dev", "run", "tmp", "boot/firmware"):
        (root / folder).mkdir(parents=True)
    shell = Path("/bin/sh").resolve()
    libraries = re.findall(r"(/[^ ]+) \(0x", subprocess.check_output(["ldd", shell], text=True))
    for file in (shell, *map(Path, libraries)):
        to = root / (Path("bin/sh") if file == shell else file.relative_to("/"))
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to)
    mke2fs = [program("mke2fs", "e2fsprogs"), "-q", "-t", "ext4", "-E", f"offset={1 << 20}", "-d", root, disk]
    subprocess.run([*mke2fs, f"{size >> 10}k"], check=True)
    return disk, size


@pytest.mark.skipif(os.geteuid() != 0, reason="a chroot is root's")
def test_the_scripts_run_in_the_chroot(place):
    disk, size = _disk(place)
    given = {
        "DISK": disk, "OFFSET": 1 << 20, "SIZE": size, "FIRMWARE": place / "firmware", "POOL": place / "pool",
        "OUTPUT": place / "packer", "PACKAGES": "microblog", "PROVISION": place / "provision",
        "FILES": place / "files",
        "SCRIPTS": "one.sh two.sh", "QEMU_CPU": "max",
    }  # fmt: skip
    done = subprocess.run(
        ["sh", paths.PACKER / "chroot.sh"],
        env={**os.environ, **{name: str(value) for name, value in given.items()}},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (place / "packer.packages").read_text() == "one\ntwo microblog\nthree\n"
    assert str(place) not in Path("/proc/mounts").read_text().replace("\\040", " ")


def _given(place: Path, **more) -> dict[str, str]:
    disk, size = _disk(place)
    given = {
        "DISK": disk, "OFFSET": 1 << 20, "SIZE": size, "FIRMWARE": place / "firmware", "POOL": place / "pool",
        "OUTPUT": place / "packer", "PACKAGES": "microblog", "PROVISION": place / "provision",
        "FILES": place / "files", "SCRIPTS": "one.sh two.sh", "QEMU_CPU": "max", **more,
    }  # fmt: skip
    return {**os.environ, **{name: str(value) for name, value in given.items()}}


@pytest.mark.skipif(os.geteuid() != 0, reason="a chroot is root's")
def test_what_failed_is_kept_for_somebody_to_look_at(place):
    (place / "provision/two.sh").write_text("echo trace > /trace\nfalse\n")
    running = subprocess.Popen(
        ["sh", paths.PACKER / "chroot.sh"], env=_given(place, KEEP_FAILED="yes"),
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert running.stdout.readline() == "phase: kept\n"
        command = shlex.split(method.load("chroot").way_in(Work.at(place)))
        inside = [*command[:-1], "/bin/sh", "-c", "read -r line < /trace; echo $line"]
        assert subprocess.check_output(inside, text=True) == "trace\n"
    finally:
        # As Packer's whole session is told when somebody presses Ctrl-C.
        os.killpg(running.pid, signal.SIGTERM)
        running.wait(60)
    assert method.load("chroot").way_in(Work.at(place)) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="a chroot is root's")
def test_what_failed_goes_if_nobody_wants_to_look(place):
    (place / "provision/two.sh").write_text("false\n")
    done = subprocess.run(["sh", paths.PACKER / "chroot.sh"], env=_given(place), check=False)
    assert done.returncode == 1


def test_the_way_into_a_machine_is_found_on_qemus_command_line(place):
    """A process with QEMU's arguments stands in for it."""
    line = f"-netdev user,hostfwd=tcp:127.0.0.1:4022-:22 -drive file={place}/packer/image.qcow2"
    with subprocess.Popen(
        ["sh", "-c", "echo up; read line", *shlex.split(line)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        # Right after exec its command line may still be empty.
        assert running.stdout.readline() == b"up\n"
        found = method.load("machine").way_in(Work.at(place))
        running.communicate(b"")
    assert found.startswith("ssh -F /dev/null -i ")
    assert " -p 4022 " in found
    assert shlex.split(found)[4] == str(place / "key")
    assert method.load("machine").way_in(Work.at(place)) == ""


def test_packer_hands_it_what_it_needs(place, tmp_path):
    templates, told = place / "templates", place / "told"
    templates.mkdir()
    (templates / "pi.pkr.hcl").symlink_to(paths.PACKER / "pi.pkr.hcl")
    for folder in ("provision", "files"):
        (templates / folder).symlink_to(place / folder)
    (templates / "chroot.sh").write_text(
        'cd "$PROVISION"\ncat $SCRIPTS "$FILES/pi/three" > "$OUTPUT.told"\n'
        'echo "$DISK$KEEP_FAILED" >> "$OUTPUT.told"\n'
    )
    variables = {
        "disk": "the disk", "offset": 0, "size": 0, "firmware": "f", "pool": "p", "output": str(told),
        "packages": ["microblog", "ufw"], "provision": list(_SCRIPTS), "keep_failed": True,
    }  # fmt: skip
    file = tmp_path / "variables.pkrvars.json"
    file.write_text(json.dumps(variables))
    packer.call(packer.find(), "build", templates, {"var_file": str(file)}, lambda _: None, tmp_path / "log")
    assert (place / "told.told").read_text() == "".join(_SCRIPTS.values()) + "three\nthe diskyes\n"
