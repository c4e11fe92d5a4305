"""Ports for servers that are about to start."""

import socket
from pathlib import Path

import pytest

from builder.core import ports
from builder.core.errors import BuildError


def test_no_port_is_given_twice(monkeypatch):
    monkeypatch.setattr(ports, "_LOWEST", 20_000)
    monkeypatch.setattr(ports, "_TRIES", 10_000)
    monkeypatch.setattr(ports, "_kernels", lambda: 20_010)
    given = []
    with pytest.raises(BuildError, match="no port on"):
        while True:
            given.append(ports.free_port())
    assert given
    assert len(set(given)) == len(given)


def test_a_port_is_not_the_kernels_to_give():
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(10_000 <= ports.free_port() < max(lowest, 10_001) for _ in range(50))


def test_there_are_ports_where_all_are_the_kernels(monkeypatch):
    monkeypatch.setattr(ports, "_kernels", lambda: 1024)
    assert 10_000 <= ports.free_port() <= 65_535


def test_a_port_that_somebody_has_is_not_given(monkeypatch):
    monkeypatch.setattr(ports, "_LOWEST", port := ports.free_port())
    monkeypatch.setattr(ports, "_kernels", lambda: port + 1)
    monkeypatch.setattr(ports, "_given", set())
    with socket.create_server(("127.0.0.1", port)), pytest.raises(BuildError, match="no port"):
        ports.free_port()
    assert ports.free_port() == port


def test_free_ports_are_free():
    ports.require_free({"--ssh-port": ports.free_port(), "--https-port": ports.free_port()})


def test_a_port_that_an_option_names_is_not_given(monkeypatch):
    monkeypatch.setattr(ports, "_LOWEST", port := ports.free_port())
    monkeypatch.setattr(ports, "_kernels", lambda: port + 1)
    monkeypatch.setattr(ports, "_given", set())
    ports.require_free({"--ssh-port": port})
    with pytest.raises(BuildError, match="no port"):
        ports.free_port()
