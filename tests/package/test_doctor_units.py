"""The doctor's form: every finding has an id of its own, and a check that breaks hides no other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.core import paths
from microblog.config import Config
from microblog.host.health import doctor

SOURCE = ast.parse((paths.ROOT / "microblog/host/health/doctor.py").read_text())


def findings() -> list[ast.Call]:
    return [
        node
        for node in ast.walk(SOURCE)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding"
    ]


def test_every_finding_has_an_id_and_a_severity() -> None:
    ids = [ast.unparse(call.args[0]) for call in findings()]
    assert len(ids) == len(set(ids)) > 20
    assert {ast.unparse(call.args[1]) for call in findings()} <= {"'error'", "'warning'", "'note'"}
    assert all(len(call.args) == 5 for call in findings())


def test_a_check_that_breaks_is_a_finding_and_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(_: Config) -> Iterator[doctor.Finding]:
        raise RuntimeError("no such luck\nand more")
        yield

    def well(_: Config) -> Iterator[doctor.Finding]:
        yield doctor.Finding("x", "note", "It is x.", "Because.", "Nothing.")

    (tmp_path / "env").write_text(f"SECRET_KEY={'x' * 32}\nDATABASE_URL=sqlite:////x\n")
    monkeypatch.setenv("MICROBLOG_ENV_FILE", str(tmp_path / "env"))
    monkeypatch.setattr(doctor.privileges, "require_root", lambda *_: None)
    monkeypatch.setattr(doctor, "CHECKS", (broken, well))
    found = doctor.doctor()
    assert [finding.id for finding in found] == ["broken.unseen", "x"]
    assert found[0].why == "RuntimeError: no such luck"
