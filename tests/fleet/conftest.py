"""One fleet for all tests, and a way to its databases."""

from collections.abc import Iterator
from pathlib import Path

import balancer
import disks
import fleets
import galera
import network
import pytest
import rounds
from balancer import Databases, running
from fleets import Fleet
from network import Place

NEEDS = (*galera.NEEDS, *balancer.NEEDS, *network.NEEDS, *disks.NEEDS, *rounds.NEEDS)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleets.started(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture
def url(fleet: Fleet, tmp_path: Path) -> Iterator[str]:
    """The database's address, by a HAProxy as an application's machine has it."""
    way = Databases(tmp_path / "way", fleet.ways[0].told, fleet.nodes, Place())
    with running(way):
        yield way.url()
