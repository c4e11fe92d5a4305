"""A virtual server may boot by UEFI as well as by BIOS; the other tests' machines have a BIOS."""

import pytest
from beginning import INIT_RUNS

pytestmark = pytest.mark.cloud


def test_image_boots_by_uefi(by_uefi):
    said = by_uefi.said()
    assert INIT_RUNS in said, f"its init does not run: {said[-500:]}"
    assert "efi: EFI v" in said
