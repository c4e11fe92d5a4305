"""Two machines from one image share no secret, and the image holds none."""

import pytest
from conftest import IDENTITY, found, identity, secrets

from builder.core.progress import step


@pytest.fixture(scope="module")
def twin(identities, second):
    """The identity of a second machine."""
    with step("Booting a second machine", "The second machine answers") as now:
        second.wait_for_site(now)
        second.wait_for_ssh(now)
    return identity(second)


@pytest.mark.parametrize("what", IDENTITY)
def test_two_machines_differ(identities, twin, what):
    assert len(identities[what]) >= 32
    assert identities[what] != twin[what]


@pytest.mark.parametrize("what", IDENTITY)
def test_no_secret_is_in_the_image(identities, twin, raw, what):
    # What both have in common is form: the head of every OpenSSH key is the same.
    searched = secrets(identities[what]) ^ secrets(twin[what])
    assert searched
    assert [place for secret in searched for place in found(raw, secret)] == []
