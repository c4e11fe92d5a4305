"""Bootstrap's files, from the package that carries them into the application's static folder."""

import re
from importlib.util import find_spec
from pathlib import Path

from builder.core import cache
from builder.core.errors import BuildError

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
        target = static_dir / "vendor" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Everybody may read it.
        cache.write_bytes(target, SOURCE_MAP.sub(b"\n", content), 0o644)


def _source() -> Path:
    # Found, not imported: importing it would need Flask.
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BuildError(
            "the Python package Bootstrap-Flask is not installed",
            "run build.py, which installs it, or install the `build` extra of setup.cfg",
        )
    return Path(spec.submodule_search_locations[0]) / "static" / "bootstrap5"
