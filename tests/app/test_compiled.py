"""Templates that the package has compiled."""

import marshal
import subprocess
import sys

import jinja2
import pytest
from jinja2.environment import Environment

from microblog.web import compiled

pytestmark = pytest.mark.any_database


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled") / "var/templates"
    # As the package does: by a Python of its own.
    make = (
        f"from pathlib import Path; from microblog.web import compiled; compiled.make(Path({str(folder)!r}))"
    )
    subprocess.run(
        [sys.executable, "-c", make],
        check=True,
        env={"PYTHONHASHSEED": "0", "PYTHONPATH": ":".join(sys.path)},
    )
    return folder


@pytest.fixture
def compiles(monkeypatch):
    """How often a template is compiled."""
    done = []
    was = Environment.compile
    monkeypatch.setattr(
        Environment, "compile", lambda *given, **more: done.append(given[1]) or was(*given, **more)
    )
    return done


def templates(app):
    environment = app.jinja_env
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)
    return environment


def test_what_was_compiled_is_not_compiled_again(make_app, folder, compiles):
    app = make_app()
    app.jinja_env.bytecode_cache = compiled.Compiled(folder)
    templates(app)
    assert compiles == []
    assert app.test_client().get("/auth/login").status_code in (200, 404)


def test_what_does_not_fit_is_compiled_as_ever(make_app, folder, compiles, tmp_path):
    """Of another Jinja, cut short, or not to be read: and nothing is written by who serves."""
    pieces = sorted(folder.iterdir())
    for number, piece in enumerate(pieces):
        (tmp_path / piece.name).write_bytes(
            [piece.read_bytes()[:40], b"j2 of another version" + marshal.dumps(None), b""][number % 3]
        )
    app = make_app()
    app.jinja_env.bytecode_cache = compiled.Compiled(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(pieces) == len(app.jinja_env.list_templates(extensions=["html"]))
    templates(app)
    assert len(compiles) == len(pieces)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    app = make_app()
    app.jinja_env.bytecode_cache = compiled.Compiled(tmp_path / "none")
    templates(app)
    assert len(compiles) == 2 * len(pieces)


def test_the_application_looks_where_the_package_puts_them(app):
    cache = app.jinja_env.bytecode_cache
    assert isinstance(cache, jinja2.BytecodeCache)
    assert cache.directory == str(compiled.FOLDER)
