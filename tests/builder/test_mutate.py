"""What ``test app --mutate`` changes, and whom it asks."""

import ast
import sys

import pytest

from builder.core import paths

sys.path.append(str(paths.ROOT / "tests"))
import mutate


def changes(source):
    """The whole text with each of its changes made."""
    finder = mutate._Finder("some.py", source.encode())
    finder.visit(ast.parse(source))
    data = source.encode()
    return {(data[: one.start] + one.text.encode() + data[one.end :]).decode() for one in finder.found}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = b < c\n", {"a = (b <= c)\n"}),
        ("a = 'é' == c\n", {"a = ('é' != c)\n"}),
        ("a = b is None\n", {"a = (b is not None)\n"}),
        ("a = b in c\n", {"a = (b not in c)\n"}),
        ("a = b and c\n", {"a = (b or c)\n"}),
        ("a = not b\n", {"a = (b)\n"}),
        ("a = b + c\n", {"a = (b - c)\n"}),
        ("a = 5\n", {"a = (6)\n", "a = (4)\n"}),
        ("a = True\n", {"a = False\n"}),
        ("a()\n", {"pass\n"}),
        ("a += b\n", {"pass\n"}),
        (
            "if a:\n    raise b\n",
            {"if True:\n    raise b\n", "if False:\n    raise b\n", "if a:\n    pass\n"},
        ),
        ("def f():\n    return a\n", {"def f():\n    return None\n"}),
        ("@login_required\ndef f():\n    pass\n", {"@staticmethod\ndef f():\n    pass\n"}),
        # What does nothing when it runs.
        ('"""Text."""\nif TYPE_CHECKING:\n    a()\n', set()),
        ("a: 'Literal[1]' = b\n", set()),
        ("def __repr__(self):\n    return a\n", set()),
    ],
)
def test_changes(source, expected):
    assert changes(source) == expected


def test_every_change_of_the_application_is_python():
    found = mutate.mutations(paths.ROOT)
    assert len(found) > 2000
    assert not any("migrations" in one.file for one in found)
    for one in found[::25]:
        source = (paths.ROOT / one.file).read_bytes()
        assert source[one.start : one.end].decode() == one.old
        ast.parse(source[: one.start] + one.text.encode() + source[one.end :])


def test_who_is_asked():
    assert mutate._node(paths.ROOT, "test_web.test_healthz") == "tests/app/test_web.py::test_healthz"
    assert mutate._node(paths.ROOT, "test_ledger.test_x") == "tests/package/test_ledger.py::test_x"
    assert mutate._node(paths.ROOT, "flask.app.test_client") is None
    nodes = ["tests/app/test_crawl.py::a", "tests/app/test_auth.py::b", "tests/app/test_cards.py::c"]
    asked = sorted(nodes, key=lambda node: mutate._order("microblog/web/cards.py", node))
    assert asked == nodes[::-1]
