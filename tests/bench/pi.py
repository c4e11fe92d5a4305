"""The Raspberry Pi's image: how long it takes, how large it is, how much memory it needs."""

import time
from typing import Any

from builder import bake, base, cache, definition, images, layer, package, paths

_IMAGE = "pi"


def measure() -> dict[str, Any]:
    """Make the image where an input changed, and bake it once more with a package built anew.

    :return: seconds by phase, of a bake after a change of the application (package to packed image), and from
        power-on to the first answer; sizes in bytes; idle memory of the emulated machine in MiB.
    :raises BuildError: a step fails.
    """
    made = images.produce(_IMAGE)
    image = definition.load_image(_IMAGE)
    with cache.scratch(paths.OUT / "work") as work:
        began = time.monotonic()
        deb = package.build(fresh=True)
        chosen = layer.obtain(image, base.obtain(image, deb), deb, lambda: "tcg")
        bake.bake(image, chosen, deb, "tcg", work / "warm", work / "bench.log")
        warm = time.monotonic() - began
    return {
        "phases": made.facts["seconds"],
        "bake_s": made.facts["bake_s"],
        "warm_bake_s": round(warm, 1),
        "boot_to_site_s": made.facts["check"]["boot_to_https_s"],
        "idle_memory_mib": made.facts["check"]["idle_memory_mib"],
        "image_bytes": made.image.stat().st_size,
        "base_bytes": chosen.disk.stat().st_size,
    }


def table(figures: dict[str, Any]) -> str:
    """The figures as people read them."""
    rows = [f"{'phase':<28}{'seconds':>10}"]
    rows += [f"  {phase:<26}{seconds:>10.1f}" for phase, seconds in figures["phases"].items()]
    rows += [
        f"{'bake, Packer alone':<28}{figures['bake_s']:>10.1f}",
        f"{'after a change of the app':<28}{figures['warm_bake_s']:>10.1f}",
        f"{'power-on to the site':<28}{figures['boot_to_site_s']:>10.1f}",
        f"image {figures['image_bytes'] / 1e6:.0f} MB, its base {figures['base_bytes'] / 1e6:.0f} MB",
        f"memory in use, idle: {figures['idle_memory_mib']} MiB",
    ]
    return "\n".join(rows)
