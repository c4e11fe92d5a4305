"""How long an image takes: cold, after only the application changed, and beside the floor.

The floor is the same installation, from the same package pool, in a chroot on the build machine:
no emulation, no boot. It needs root, for a loop mount.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builder import make
from builder.bake import bake, layer, pool
from builder.bases import base
from builder.bases.cached import CachedBase
from builder.core import cache, paths
from builder.core.errors import BuildError
from builder.core.progress import step
from builder.core.request import Request
from builder.core.work import Work
from builder.deb import package
from builder.defs import definition
from builder.disk import media
from builder.disk.ext4 import FileSystem
from builder.vm.accelerator import choose

_IMAGE = "cloud"


def measure() -> dict[str, Any]:
    """Make the image afresh, bake it once more, and install in a chroot.

    :return: seconds by phase of the cold run; seconds of its bake (Packer's start to its end), of a bake
        after a change of the application (package to packed image), of the floor, and from power-on to
        the first answer over HTTPS; sizes in bytes.
    :raises BuildError: not root, or a step fails.
    """
    if os.geteuid() != 0:
        raise BuildError(
            "the floor is measured in a chroot, which needs root", "Run as root: ./build.py bench bake"
        )
    cold = make.produce(_IMAGE, Request(fresh=True))
    image = definition.load_image(_IMAGE)
    paths.OUT.mkdir(parents=True, exist_ok=True)
    with cache.scratch(paths.OUT / "work") as work:
        log = work / "bench.log"
        (work / "warm").mkdir()
        began = time.monotonic()
        deb = package.build(fresh=True)
        below = base.obtain(image, deb)
        accelerator = choose("auto", below.architecture, lambda: below.kernel)
        chosen = layer.obtain(image, below, deb, lambda: accelerator)
        bake.bake(image, chosen, deb, accelerator, Work(work / "warm", log))
        warm = time.monotonic() - began
        # Without what the package needs: that is what the floor installs.
        bare = base.get(definition.load_base(chosen.name), store=work / "bases")
        floor = _floor(image, bare, deb, Work(work, log))
    return {
        "phases": cold.facts.seconds,
        "bake_s": cold.facts.bake_s,
        "warm_bake_s": round(warm, 1),
        "floor_s": round(floor, 1),
        "boot_to_https_s": cold.facts.check.boot_to_https_s,
        "image_bytes": cold.image.stat().st_size,
        "base_bytes": chosen.disk.stat().st_size,
    }


def _floor(image: definition.Image, chosen: CachedBase, deb: Path, work: Work) -> float:
    raw, root = work / "floor.raw", work / "floor"
    root.mkdir()
    media.unpack(chosen.disk, raw, work)
    with _mounted(raw, root, work):
        packages = root / "pool"
        packages.mkdir()
        pool.prepare(chosen, deb, image.packages, packages, work)
        (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (root / "usr/sbin/policy-rc.d").chmod(0o755)
        (root / "etc/dpkg/dpkg.cfg.d/bake").write_text("force-unsafe-io\n")
        (root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/pool ./\n")
        with step("Installing in a chroot", "Installed in a chroot") as now:
            for action in (["update"], ["install", "microblog", *image.packages]):
                work.run(
                    ["chroot", root, "apt-get", "--yes", "--quiet=2", *action],
                    env={"DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                )
            return now.seconds


@contextmanager
def _mounted(raw: Path, root: Path, work: Work) -> Iterator[None]:
    work.run(["mount", "-o", f"loop,offset={FileSystem.root_of(raw).offset}", raw, root])
    mounts = [root]
    try:
        for name in ("proc", "dev"):
            work.run(["mount", "--bind", f"/{name}", root / name])
            mounts.append(root / name)
        yield
    finally:
        for mount in reversed(mounts):
            subprocess.run(["umount", "--lazy", str(mount)], check=True)


def table(figures: dict[str, Any]) -> str:
    """The figures as people read them."""
    rows = [f"{'phase (cold)':<28}{'seconds':>10}"]
    rows += [f"  {phase:<26}{seconds:>10.1f}" for phase, seconds in figures["phases"].items()]
    floor, bake_s, warm_s = (figures[name] for name in ("floor_s", "bake_s", "warm_bake_s"))
    rows += [
        f"{'bake, Packer alone':<28}{bake_s:>10.1f}  {bake_s / floor:.1f} x the floor",
        f"{'after a change of the app':<28}{warm_s:>10.1f}  {warm_s / floor:.1f} x",
        f"{'floor: install in a chroot':<28}{floor:>10.1f}  1 x",
        f"{'power-on to HTTPS':<28}{figures['boot_to_https_s']:>10.1f}",
        f"image {figures['image_bytes'] / 1e6:.0f} MB, its base {figures['base_bytes'] / 1e6:.0f} MB",
    ]
    return "\n".join(rows)
