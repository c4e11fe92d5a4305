"""The image in each of the forms that other hosts take: the same disk, and it boots."""

import subprocess

import pytest
from beginning import INIT_RUNS, Beginning

from builder.core.command import program
from builder.core.work import Work
from builder.disk import format as formats
from builder.ship import export

pytestmark = [pytest.mark.cloud, pytest.mark.thorough]


@pytest.mark.parametrize("form", formats.names())
def test_the_image_boots_from_each_form(lab, tmp_path, form):
    """From the file itself where QEMU reads it, else from what it is unpacked to; the disk is compared."""
    lab.power_off()
    found = formats.find(form)
    made, _ = export.export(str(lab.image.image), form, tmp_path / "exported")
    raw = tmp_path / "raw"
    found.unpack(made, raw, Work.at(tmp_path))
    compare = [program("qemu-img", "qemu-utils"), "compare", "-q", "-f", "raw", "-F", "qcow2"]
    subprocess.run([*compare, raw, lab.image.image], check=True)
    disk, driver = (made, found.driver) if found.driver else (raw, "raw")
    running = Beginning(lab, f"from-{form}", disk, driver)
    said = running.said()
    assert INIT_RUNS in said, f"its init does not run: {said[-500:]}"
