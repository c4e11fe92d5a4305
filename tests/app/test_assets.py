import importlib.util
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import pytest

from builder.core.errors import BuildError
from builder.deb import assets


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A stand-in for the installed package."""
    root = tmp_path / "flask_bootstrap"
    css = root / "static" / "bootstrap5" / "css"
    css.mkdir(parents=True)
    (css / "bootstrap.min.css").write_bytes(b"a{}\n/*# sourceMappingURL=bootstrap.min.css.map */")
    spec = SimpleNamespace(submodule_search_locations=[str(root)])
    monkeypatch.setattr(assets, "find_spec", lambda name: spec)
    return css


def test_installs_again_and_again(package, tmp_path):
    static = tmp_path / "static"
    for _ in range(2):
        assets.install(static)
        assert (static / "vendor/css/bootstrap.min.css").read_bytes() == b"a{}\n"
    assert [path.name for path in (static / "vendor/css").iterdir()] == ["bootstrap.min.css"]
    assert (static / "vendor/css/bootstrap.min.css").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("spec", [None, ModuleSpec("flask_bootstrap", None)])
def test_without_the_package(tmp_path, monkeypatch, spec):
    monkeypatch.setattr(assets, "find_spec", lambda name: spec)
    with pytest.raises(BuildError) as caught:
        assets.install(tmp_path)
    assert "Bootstrap-Flask" in caught.value.message
    assert "build.py" in caught.value.hint


def test_without_the_file(package, tmp_path):
    (package / "bootstrap.min.css").unlink()
    with pytest.raises(BuildError, match=r"bootstrap\.min\.css"):
        assets.install(tmp_path / "static")
    assert not (tmp_path / "static").exists()


@pytest.mark.skipif(not importlib.util.find_spec("flask_bootstrap"), reason="needs the `build` extra")
def test_the_real_package(tmp_path):
    assets.install(tmp_path)
    text = (tmp_path / "vendor/css/bootstrap.min.css").read_text()
    assert "Bootstrap  v5." in text[:200]
    assert "sourceMappingURL" not in text
