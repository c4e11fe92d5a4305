"""Where things are: the checkout, its results, and the cache."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFINITIONS = ROOT / "images"
OUT = DEFINITIONS / "out"
DIST = ROOT / "dist"
PACKER = ROOT / "packer"


def cache_dir() -> Path:
    """The user's cache directory for this product, made if missing.

    ``MICROBLOG_CACHE``, else ``$XDG_CACHE_HOME/microblog``, else ``~/.cache/microblog``
    (XDG Base Directory Specification).
    """
    named = os.environ.get("MICROBLOG_CACHE")
    if named:
        path = Path(named)
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "microblog"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
