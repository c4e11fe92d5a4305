"""Two machines from one image share no secret, and the image holds none."""

import pytest
from conftest import IDENTITY, IDENTITY_CASES, found, secrets

from builder.progress import step


@pytest.fixture(scope="module")
def twin(lab, booted, identities):
    """The identity of a second machine, which takes the first one's place."""
    booted.power_off()
    with lab.boot("second") as running:
        try:
            with step("Booting a second machine", "The second machine answers") as now:
                running.wait_for_site(now)
                running.wait_for_ssh(now)
            return {what: running.run(command).strip() for what, command in IDENTITY.items()}
        finally:
            (lab.logs / "second.console").write_bytes(running.serial_log.read_bytes())


@pytest.mark.parametrize("what", IDENTITY_CASES)
def test_two_machines_differ(identities, twin, what):
    assert len(identities[what]) >= 32
    assert identities[what] != twin[what]


@pytest.mark.parametrize("what", IDENTITY_CASES)
def test_no_secret_is_in_the_image(identities, twin, raw, what):
    # What both have in common is form: the head of every OpenSSH key is the same.
    searched = secrets(identities[what]) ^ secrets(twin[what])
    assert searched
    assert [place for secret in searched for place in found(raw, secret)] == []
