"""The fonts that the browser sees: a declared set, and nothing else that the machine may have.

What a page measures depends on them. So there are two sets, between whose widths those of visitors are.
"""

import os
from dataclasses import dataclass

from builder.core.needs import File

FOLDER = "/usr/share/fonts"


@dataclass(frozen=True)
class Fonts:
    """A set of fonts.

    :ivar file: one of its files, and Debian's and Ubuntu's package that has them.
    :ivar sans: what is taken for every family that has no serifs, or that is not there.
    :ivar serif: what is taken for one with serifs.
    """

    file: File
    sans: str
    serif: str


SETS = {
    # As wide as Verdana: the widest that is common.
    "wide": Fonts(
        File("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"),
        "DejaVu Sans",
        "DejaVu Serif",
    ),
    "narrow": Fonts(
        File(
            "/usr/share/fonts/truetype/roboto/unhinted/RobotoCondensed-Regular.ttf", "fonts-roboto-unhinted"
        ),
        "Roboto Condensed",
        "Roboto Condensed",
    ),
}

# fonts-conf(5). Chromium asks for each family that a style sheet names, and for the generic ones.
_CONFIGURATION = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>{folder}</dir>
  <cachedir>{cache}</cachedir>
  <selectfont>
    <acceptfont>
      <pattern><patelt name="family"><string>{sans}</string></patelt></pattern>
      <pattern><patelt name="family"><string>{serif}</string></patelt></pattern>
    </acceptfont>
    <rejectfont>
      <pattern><patelt name="scalable"><bool>true</bool></patelt></pattern>
      <pattern><patelt name="scalable"><bool>false</bool></patelt></pattern>
    </rejectfont>
  </selectfont>
  <alias><family>serif</family><prefer><family>{serif}</family></prefer></alias>
  <match><edit name="family" mode="append_last"><string>{sans}</string></edit></match>
</fontconfig>
"""


def environment(name, folder):
    """The environment for a browser that sees one of the sets.

    :param name: of :data:`SETS`.
    :param folder: an empty one, for as long as the browser runs.
    """
    fonts = SETS[name]
    # Without a font, Chromium crashes.
    assert fonts.file.found, fonts.file
    file = folder / "fonts.conf"
    file.write_text(
        _CONFIGURATION.format(folder=FOLDER, cache=folder / "cache", sans=fonts.sans, serif=fonts.serif)
    )
    return {**os.environ, "FONTCONFIG_FILE": str(file)}
