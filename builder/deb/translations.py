"""The interface's translations, made ready for use: gettext's .mo beside each .po."""

import io
from pathlib import Path

from builder.core import cache
from builder.core.errors import BuildError


def compile_all(folder: Path) -> None:
    """Compile every ``LANGUAGE/LC_MESSAGES/*.po`` below ``folder``.

    :param folder: the application's translations, in a checkout or a staged copy.
    :raises BuildError: if Babel is missing, or a file is no translation.
    """
    try:
        from babel.messages.mofile import write_mo
        from babel.messages.pofile import PoFileError, read_po
    except ImportError:
        raise BuildError(
            "the Python package Babel is not installed",
            "run build.py, which installs it, or install the `build` extra of setup.cfg",
        ) from None
    for path in sorted(folder.glob("*/LC_MESSAGES/*.po")):
        try:
            with path.open("rb") as source:
                catalog = read_po(source, locale=path.parent.parent.name, abort_invalid=True)
        except (PoFileError, ValueError) as error:
            raise BuildError(
                f"{path} is no translation: {error}", "mend it, or restore it from git"
            ) from None
        content = io.BytesIO()
        write_mo(content, catalog)
        cache.write_bytes(path.with_suffix(".mo"), content.getvalue())
