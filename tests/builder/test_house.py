"""The builder is a house: its folders stand in an order, and none reaches one above it."""

import ast
import re
import subprocess
import sys

import pytest

from builder.bake import method
from builder.core import needs, paths
from builder.core.errors import BuildError
from builder.disk import format as format_

_ORDER = [
    "core",
    "defs",
    "deb",
    "disk",
    "bases",
    "results",
    "vm",
    "bake",
    "make",
    "ship",
    "fleet",
    "dev",
    "bootstrap",
]
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


# What a part of the application never sees; the folders of host/ have an order of their own.
_UNSEEN = {
    "models": {"web", "host", "commands"},
    "web": {"host"},
    "host": {"web", "commands"},
    "commands": {"web"},
    "protocol.py": {"web", "host", "commands", "models"},
}


@pytest.mark.parametrize("part", _UNSEEN)
def test_no_part_of_the_application_reaches_what_it_does_not_know(part):
    top = paths.ROOT / "microblog"
    files = [top / part] if part.endswith(".py") else [*(top / part).rglob("*.py")]
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            reached = {name.split(".")[1] for name in names if name.startswith("microblog.")}
            assert not reached & _UNSEEN[part], f"{file}: {reached & _UNSEEN[part]}"


def test_the_application_and_the_builder_do_not_know_each_other():
    for ours, theirs in (("builder", "microblog"), ("microblog", "builder")):
        for file in (paths.ROOT / ours).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                assert not any(name.split(".")[0] == theirs for name in names), file


@pytest.mark.parametrize(
    ("module", "foreign"),
    [
        ("results/verify.py", {"disk", "vm", "bake", "make", "ship"}),
        ("ship/flash.py", {"bases", "deb", "vm", "bake", "make"}),
        ("ship/vagrant.py", {"bases", "deb", "bake", "make"}),
        ("ship/export.py", {"bases", "deb", "vm", "bake", "make"}),
        ("ship/publish.py", {"bases", "vm", "make"}),
        ("vm/trial.py", {"bases", "deb", "bake", "make"}),
    ],
)
def test_who_uses_an_image_reaches_nothing_that_makes_one(module, foreign):
    """A card is written, a download verified, a machine tried out by a few modules; of the forms that a
    disk is read from, each counts as one."""
    reached = [
        file.relative_to(paths.BUILDER).as_posix()
        for file in needs.closure([paths.BUILDER / module], folders=False)
        if file.is_relative_to(paths.BUILDER)
    ]
    assert not [one for one in reached if one.partition("/")[0].removesuffix(".py") in foreign]
    assert len([one for one in reached if not one.startswith(("core/", "disk/formats/"))]) <= 20


def test_what_is_added_is_one_file(checkout):
    """A form, a provider, an image, a base: found by looking, and the command line offers it."""
    for new, like, old in (
        ("builder/disk/formats/vdi.py", "builder/disk/formats/raw.py", '".img"'),
        ("builder/ship/clouds/garage.py", "builder/ship/clouds/lightsail.py", ""),
        ("images/garden.toml", "images/cloud.toml", ""),
        ("images/bases/debian-14.toml", "images/bases/debian-13.toml", ""),
    ):
        text = (checkout / like).read_text()
        assert old in text
        (checkout / new).write_text(text.replace(old, '".vdi"') if old else text)

    def said(*arguments):
        # Past what a verb installs first: this Python has it.
        code = "import sys; sys.path[:0] = sys.argv[1:2]; import build; build.main(sys.argv[2:])"
        command = [sys.executable, "-c", code, checkout, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert "vdi" in said("export", "--help")
    assert "garage" in said("publish", "--help")
    assert "the image garden is not baked yet" in said("check", "garden")
    assert "debian-14" in said("images", "garden", "--base", "raspios")


def test_a_format_is_one_file():
    """Each is complete, no two are taken for one another, and one that is added is found by looking."""
    found = [format_.find(name) for name in format_.names()]
    assert {"qcow2", "raw", "raw.zst", "raw.gz", "vmdk", "vhd"} <= {*format_.names()}
    assert len({one.suffix for one in found}) == len(found)
    assert all(one.suffix.startswith(".") and one.is_for for one in found)
    with pytest.raises(BuildError, match="there is no format 'vdi'"):
        format_.find("vdi")


@pytest.mark.parametrize("name", ["machine", "chroot"])
def test_a_method_is_one_file(name):
    assert method.load(name).suffix


def test_nobody_hands_a_log_and_a_directory_about():
    """One object has both."""
    for file in paths.BUILDER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and file.parent.name != "core":
                names = {argument.arg for argument in node.args.args}
                assert not {"work", "log"} <= names, f"{file}: {node.name}"


def test_what_the_pages_name_is_there():
    """A file that was moved is looked for where it is said to be."""
    pages = [*(paths.ROOT / "docs").glob("*.md"), *paths.ROOT.glob("*.md")]
    named = {
        (page.name, name)
        for page in pages
        for name in re.findall(
            r"`((?:builder|tests|packer|images|microblog|debian)/[\w./-]+\w)`", page.read_text()
        )
        # What is made there, and names that stand for many.
        if not re.search("/out/|NAME|LANGUAGE", name)
    }
    assert len(named) > 20
    assert sorted(one for one in named if not (paths.ROOT / one[1]).exists()) == []
