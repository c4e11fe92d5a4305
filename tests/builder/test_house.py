"""The builder is a house: its folders stand in an order, and none reaches one above it."""

import ast

from builder.core import paths

_ORDER = ["core", "defs", "deb", "disk", "bases", "results", "vm", "bake", "make", "ship", "dev", "bootstrap"]
_SAME = {"report": "make"}


def _room(parts: tuple[str, ...]) -> str:
    name = parts[0].removesuffix(".py")
    return _SAME.get(name, name)


def _reached(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "builder":
            yield from (_room((alias.name,)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("builder."):
            yield _room(tuple(node.module.split(".")[1:]))


def test_no_folder_reaches_one_above_it():
    wrong = []
    for file in paths.BUILDER.rglob("*.py"):
        here = _room(file.relative_to(paths.BUILDER).parts)
        if here != "__init__":
            wrong += [
                f"{file.relative_to(paths.BUILDER)} reaches {there}"
                for there in _reached(file)
                if _ORDER.index(there) > _ORDER.index(here)
            ]
    assert not wrong


def test_every_folder_says_what_is_in_it():
    for folder in paths.BUILDER.iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            text = (folder / "__init__.py").read_text()
            assert len(ast.get_docstring(ast.parse(text)) or "") > 20, folder
            assert _ORDER.index(folder.name) >= 0


def test_the_application_and_the_builder_do_not_know_each_other():
    for ours, theirs in (("builder", "microblog"), ("microblog", "builder")):
        for file in (paths.ROOT / ours).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                assert not any(name.split(".")[0] == theirs for name in names), file
