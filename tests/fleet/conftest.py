"""One fleet for all tests."""

from collections.abc import Iterator

import balancer
import disks
import fleets
import galera
import network
import pytest
import rounds
from fleets import Fleet

NEEDS = (*galera.NEEDS, *balancer.NEEDS, *network.NEEDS, *disks.NEEDS, *rounds.NEEDS)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleets.started(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet
