"""The Raspberry Pi's image: how long it takes, how large it is, how much it needs, how fast it serves.

Beside the bake's installation, in a chroot, stands the same one inside of a machine that is emulated as a
whole: the same scripts, on the same base, from the same package pool.
"""

import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from builder import make
from builder.bake import bake, layer
from builder.bases import base
from builder.bases.cached import CachedBase
from builder.core import cache, paths
from builder.core.progress import step
from builder.core.work import Work
from builder.deb import package
from builder.defs import definition
from builder.disk import media
from builder.results import library
from builder.vm import machine

sys.path += [str(paths.ROOT / "tests" / name) for name in ("", "bench", "images")]
import app
from visitor import Visitor

_IMAGE = "pi"
_POSTS = 30
_SECONDS = 20
_INSTALL = ["prepare.sh", "install.sh"]
_PHASES = ("prepare", "install", "compile")
_PAGES = {"home": "/", "explore": "/explore", "log-in": "/login"}


def measure() -> dict[str, Any]:
    """Make the image where an input changed, bake it once more with a package built anew, and install in a
    machine.

    :return: seconds by phase, of a bake after a change of the application (package to packed image), of the
        installation alone in a chroot and in an emulated machine, and from power-on to the first answer;
        sizes in bytes; idle memory of the emulated machine in MiB; requests a second of pages with 30 posts,
        of the emulated machine and of the same application on this one.
    :raises BuildError: a step fails.
    """
    made = make.produce(_IMAGE)
    image = definition.load_image(_IMAGE)
    with cache.scratch(paths.OUT / "work") as work:
        (work / "warm").mkdir()
        began = time.monotonic()
        deb = package.build(fresh=True)
        chosen = layer.obtain(image, base.obtain(image, deb), deb, lambda: "tcg")
        bake.bake(image, chosen, deb, "tcg", Work(work / "warm", work / "bench.log"))
        warm = time.monotonic() - began
        emulated = _emulated(made, work)
        # Without what the package needs: that is what is installed.
        bare = base.get(definition.load_base(chosen.name), store=work / "bases")
        installed = {
            "chroot": _in_a_chroot(image, bare, deb, work / "chroot"),
            "emulated": _in_a_machine(image, bare, work / "chroot" / "pool", work),
        }
    return {
        "phases": made.facts.seconds,
        "bake_s": made.facts.bake_s,
        "warm_bake_s": round(warm, 1),
        "install_s": installed,
        "boot_to_site_s": made.facts.check.boot_to_https_s,
        "idle_memory_mib": made.facts.check.idle_memory_mib,
        "image_bytes": made.image.stat().st_size,
        "base_bytes": chosen.disk.stat().st_size,
        "requests_per_s": {"emulated": emulated, "here": _here()},
    }


def _emulated(image: library.Result, work: Path) -> dict[str, float]:
    facts = image.facts
    with machine.boot(
        image.image, work / "machine", architecture=facts.architecture, accelerator="tcg",
        user=facts.user, memory_mb=facts.memory_mb, scheme=facts.scheme,
    ) as running:  # fmt: skip
        with step("Booting the image", "The site is up") as now:
            running.wait_for_site(now)
            running.wait_for_ssh(now)
        running.wait_for_cloud_init()
        Visitor(running.url).claim(running.run("sudo /etc/update-motd.d/20-microblog"))
        return _rates(running.url, "the emulated machine")


def _in_a_chroot(image: definition.Image, bare: CachedBase, deb: Path, work: Path) -> float:
    work.mkdir()
    only = dataclasses.replace(image, provision=[*_INSTALL, "clean.sh"])
    phases, _ = bake.install(only, bare, deb, "tcg", Work(work, work / "bench.log"))
    return round(sum(phases.get(phase, 0.0) for phase in _PHASES), 1)


def _in_a_machine(image: definition.Image, bare: CachedBase, packages: Path, work: Path) -> float:
    under = Work(work, work / "bench.log")
    # A card starts from its image alone.
    raw, card = work / "bare.img", work / f"bare{media.CARD}"
    media.unpack(bare.disk, raw, under)
    media.pack_card(raw, card, under)
    raw.unlink()
    scripts = " ".join(_INSTALL)
    with machine.boot(
        card, work / "bare", architecture=bare.architecture, accelerator="tcg", user=bare.user,
        memory_mb=image.memory_mb, scheme=image.scheme,
    ) as running:  # fmt: skip
        with step("Booting the base", "The base is up") as now:
            running.wait_for_ssh(now)
        running.wait_for_cloud_init()
        _send(running, packages.parent, packages.name)
        _send(running, paths.PACKER / "provision", *_INSTALL)
        # In /run, where the bake has it, there is not the space.
        running.run(f'sudo ln -s "$PWD/{packages.name}" /run/pool && chmod a+rx . {packages.name}')
        with step("Installing in a machine", "Installed in a machine") as now:
            running.run(
                f"for script in {scripts}; do"
                f" sudo PACKAGES='microblog {' '.join(image.packages)}' sh $script > log 2>&1"
                " || { tail -n 5 log >&2; exit 1; }; done",
                timeout=7200,
            )
            return round(now.seconds, 1)


def _send(running: machine.Machine, directory: Path, *names: str) -> None:
    """Copy files of a directory into the home of the machine's user."""
    with subprocess.Popen(
        ["tar", "--dereference", "-C", directory, "-cf", "-", *names], stdout=subprocess.PIPE
    ) as tar:
        subprocess.run([*running.ssh, "tar -xf -"], stdin=tar.stdout, check=True)


def _here() -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="microblog-bench-") as scratch:
        url = f"sqlite:///{scratch}/bench.db"
        app.migrate(url)
        with app.gunicorn(url, WEB_CONCURRENCY="2") as (address, _):
            return _rates(address, "this machine")


def _rates(address: str, what: str) -> dict[str, float]:
    """Requests a second of each page, for somebody who is logged in."""
    visitor = Visitor(address)
    visitor.register("ada", "a pass phrase that lasts")
    for number in range(_POSTS):
        visitor.write(f"note {number}")
    cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.session.cookies)
    with step(f"Measuring {what}", f"Measured {what}"):
        app.load(address, cookie, 5)
        return {
            page: app.load(address + path, "" if page == "log-in" else cookie, _SECONDS)["rps"]
            for page, path in _PAGES.items()
        }


def table(figures: dict[str, Any]) -> str:
    """The figures as people read them."""
    rows = [f"{'phase':<28}{'seconds':>10}"]
    rows += [f"  {phase:<26}{seconds:>10.1f}" for phase, seconds in figures["phases"].items()]
    rows += [
        f"{'bake, Packer alone':<28}{figures['bake_s']:>10.1f}",
        f"{'after a change of the app':<28}{figures['warm_bake_s']:>10.1f}",
        f"{'installation in a chroot':<28}{figures['install_s']['chroot']:>10.1f}",
        f"{'  in an emulated machine':<28}{figures['install_s']['emulated']:>10.1f}",
        f"{'power-on to the site':<28}{figures['boot_to_site_s']:>10.1f}",
        f"image {figures['image_bytes'] / 1e6:.0f} MB, its base {figures['base_bytes'] / 1e6:.0f} MB",
        f"memory in use, idle: {figures['idle_memory_mib']:.0f} MiB",
        f"{'requests a second':<28}{'emulated':>10}{'here':>10}{'ratio':>8}",
    ]
    rates = figures["requests_per_s"]
    rows += [
        f"  {page:<26}{rate:>10.1f}{rates['here'][page]:>10.1f}{rate / rates['here'][page]:>8.2f}"
        for page, rate in rates["emulated"].items()
    ]
    return "\n".join(rows)
