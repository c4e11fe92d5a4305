"""Which accelerator is taken: one that a guest really comes up with."""

import os
import time
from pathlib import Path

import pytest

from builder.core.errors import BuildError
from builder.vm import accelerator
from builder.vm.emulator import EMULATORS


def test_tcg_needs_no_trying():
    assert accelerator.choose("tcg", "amd64", lambda: pytest.fail("tried")) == "tcg"


def test_auto_ends_up_with_tcg_where_kvm_is_not(monkeypatch, capfd):
    monkeypatch.setattr(accelerator, "_obstacle", lambda _: "there is no /dev/kvm")
    assert accelerator.choose("auto", "amd64", lambda: pytest.fail("tried")) == "tcg"
    assert "Accelerator: TCG" in capfd.readouterr().err


def test_kvm_insisted_upon_is_an_error_where_it_is_not(monkeypatch):
    monkeypatch.setattr(accelerator, "_obstacle", lambda _: "there is no /dev/kvm")
    with pytest.raises(BuildError, match="KVM can't be used: there is no /dev/kvm") as error:
        accelerator.choose("kvm", "amd64", lambda: pytest.fail("tried"))
    assert "--accel tcg" in error.value.hint


def test_kvm_is_believed_when_a_guest_comes_up_and_asked_once(monkeypatch, cache):
    asked = []
    monkeypatch.setattr(accelerator, "_obstacle", lambda _: None)
    monkeypatch.setattr(accelerator, "_try_guest", lambda *_: asked.append(1))
    assert [accelerator.choose("auto", "amd64", lambda: Path("k")) for _ in range(2)] == ["kvm", "kvm"]
    assert len(asked) == 1


def test_a_no_of_a_busy_machine_is_asked_again_later(monkeypatch, cache):
    answers = ["it was too slow", None]
    monkeypatch.setattr(accelerator, "_obstacle", lambda _: None)
    monkeypatch.setattr(accelerator, "_try_guest", lambda *_: answers.pop(0))
    ask = lambda: accelerator.choose("auto", "amd64", lambda: Path("k"))  # noqa: E731
    assert [ask(), ask()] == ["tcg", "tcg"]
    (answer,) = (cache / "kvm").iterdir()
    hours_ago = time.time() - 2 * 3600
    os.utime(answer, (hours_ago, hours_ago))
    assert ask() == "kvm"
    os.utime(answer, (hours_ago, hours_ago))
    assert ask() == "kvm"


def test_what_emulation_alone_knows_is_not_asked_of_kvm():
    """QEMU refuses it: "can't apply global max-arm-cpu.pauth-impdef=on", and every machine was emulated."""
    assert {one.cpu("kvm") for one in EMULATORS.values()} == {"max"}
    assert "pauth-impdef=on" in EMULATORS["arm64"].cpu("tcg")


def test_a_guest_that_hangs_is_given_up(monkeypatch, tmp_path):
    """What is there to run is no kernel: nothing ever comes."""
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"\0" * 65536)
    monkeypatch.setattr(accelerator, "_PROBE_SECONDS", 1.0)
    assert accelerator._try_guest(EMULATORS["amd64"], kernel)
