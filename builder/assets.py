"""Bootstrap's files, from the package that carries them into the application's static folder."""

import os
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path

from builder.errors import BuildError

PACKAGE = "flask_bootstrap"
# Below the package's static/bootstrap5/, and below the application's static/vendor/.
FILES = ("css/bootstrap.min.css",)

# The maps stay behind, and a browser's developer tools would ask for them.
SOURCE_MAP = re.compile(rb"\s*/\*# sourceMappingURL=[^*]*\*/\s*\Z")


def install(static_dir: Path) -> None:
    """Put Bootstrap's stylesheet into ``static_dir/vendor/``, replacing what is there.

    :param static_dir: the application's static folder, in a checkout or a staged copy.
    :raises BuildError: if the Bootstrap-Flask package, or a file in it, is missing.
    """
    source = _source()
    for name in FILES:
        try:
            content = (source / name).read_bytes()
        except OSError as error:
            raise BuildError(
                f"Bootstrap-Flask has no {name}: {error}", "install the version pinned in setup.cfg"
            ) from None
        _write(static_dir / "vendor" / name, SOURCE_MAP.sub(b"\n", content))


def _source() -> Path:
    # Found, not imported: importing it would need Flask.
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BuildError(
            "the Python package Bootstrap-Flask is not installed",
            "run build.py, which installs it, or install the `build` extra of setup.cfg",
        )
    return Path(spec.submodule_search_locations[0]) / "static" / "bootstrap5"


def _write(path: Path, content: bytes) -> None:
    """Write a file that everybody may read; whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
