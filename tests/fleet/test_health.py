"""What a database's machine says to balancers."""

import importlib.machinery
import types
import urllib.error
import urllib.request

import galera
import pytest
from fleets import Fleet
from test_fleet import settle


def asked(node: galera.Node) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{node.place.address}:{node.health}/", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_node_says_whether_it_serves(fleet: Fleet) -> None:
    settle(fleet)
    node = fleet.nodes[2]
    assert asked(node) == (200, "it serves\n")
    node.ask("SET GLOBAL wsrep_desync = ON")
    try:
        code, said = asked(node)
        assert code == 503
        assert "it is held back" in said
    finally:
        node.ask("SET GLOBAL wsrep_desync = OFF")
    settle(fleet)


def test_a_full_disk_is_no_place_to_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("health")
    importlib.machinery.SourceFileLoader("health", str(galera.HEALTH)).exec_module(module)
    assert module.problem("/no/such/socket", "/", room=2**62) == "its disk is full"
    assert "No such file" in module.problem("/no/such/socket", "/", room=0)
