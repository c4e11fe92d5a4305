"""Run Packer through packer.py, and read its machine-readable stream."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.bake import packer_release
from builder.bake.packer_release import Plugin
from builder.bake.packer_release import find as find
from builder.bake.packer_release import version as version
from builder.core import cache, paths
from builder.core.errors import BuildError
from builder.core.progress import step

_PLUGINS_NEEDED_SINCE = (1, 7, 0)
_PLUGINS_TEMPLATE = "plugins.pkr.hcl.j2"
# source "qemu" "cloud" {
_SOURCE = re.compile(r'^source\s+"([^"]+)"', re.MULTILINE)
_ESCAPES = {"%!(PACKER_COMMA)": ",", "\\n": "\n", "\\r": ""}

# What Packer says when a script has failed, and what stands before each line that it printed.
_SCRIPT_FAILED = "Provisioning step had errors"
_OF_SOURCE = re.compile(r"^==> [\w.-]+: ")


@dataclass(frozen=True)
class Line:
    """One line of ``packer -machine-readable``: ``timestamp,target,type,data...``."""

    kind: str
    data: list[str]

    @property
    def text(self) -> str:
        """What a person would have read; empty for other kinds than ``ui``."""
        return self.data[-1] if self.kind == "ui" and self.data else ""


def parse(line: str) -> Line | None:
    """A line of the stream; None for anything else that got into it.

    Commas and line ends in the data are escaped (Packer: "Machine-Readable Output").
    """
    fields = line.rstrip("\n").split(",")
    if len(fields) < 3 or not fields[0].isdigit():
        return None
    for mark, meant in _ESCAPES.items():
        fields = [field.replace(mark, meant) for field in fields]
    return Line(kind=fields[2], data=fields[3:])


def render(template: str, **values: object) -> str:
    """The text of a template under packer/ (Jinja2)."""
    # Which method an image is baked by is asked before anything is installed.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(paths.PACKER),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701
    )
    return environment.get_template(template).render(**values)


def ready(template: Path) -> str:
    """Have a Packer that has, or has fetched, all that a template needs.

    :return: its path.
    :raises BuildError: it can't be had, or a plugin can't.
    """
    executable = find()
    found = version(executable)
    lacking = [plugin for plugin in plugins(template) if not _has(plugin)]
    if found >= _PLUGINS_NEEDED_SINCE and lacking:
        log = paths.cache_dir() / "packer-init.log"
        names = ", ".join(f"{plugin.name} {plugin.version}" for plugin in lacking)
        with (
            cache.lock(log.with_suffix(".lock"), "fetching Packer's plugins"),
            cache.scratch(paths.cache_dir() / "tools") as work,
            step(f"Fetching Packer's plugins: {names}", "Packer's plugins are there"),
        ):
            name_plugins(template, found, work)
            call(executable, "init", work, {}, lambda _: None, log)
    return executable


def plugins(template: Path) -> list[Plugin]:
    """The plugins that a template's sources come from: none for what Packer does itself.

    :raises BuildError: it is not known which.
    """
    wanted = []
    for kind in sorted(set(_SOURCE.findall(template.read_text())) - packer_release.BUILT_IN):
        if kind not in packer_release.PLUGINS:
            raise BuildError(
                f"{template.name} has a source {kind!r}, whose plugin is not known",
                f"Note it with its version in PLUGINS: {packer_release.__file__}",
            )
        wanted.append(packer_release.PLUGINS[kind])
    return wanted


def name_plugins(template: Path, found: tuple[int, ...], templates: Path) -> None:
    """Write into a directory which plugins a template requires, for a Packer that wants to be told."""
    wanted = plugins(template)
    if wanted and found >= _PLUGINS_NEEDED_SINCE:
        text = render(_PLUGINS_TEMPLATE, plugins=wanted)
        (templates / _PLUGINS_TEMPLATE.removesuffix(".j2")).write_text(text)


def lay_out_scripts(templates: Path) -> None:
    """Put the scripts that provision where templates look for them, provision/ beside them, and files/, the
    trees that they lay down."""
    (templates / "files").symlink_to(paths.PACKER / "files")
    folder = templates / "provision"
    folder.mkdir()
    for place in paths.script_folders():
        for script in place.glob("*.sh"):
            (folder / script.name).symlink_to(script)


def _plugin_dir() -> Path:
    """The user's where he says so; else the cache, so that no plugin of his own gets into a bake."""
    return Path(os.environ.get("PACKER_PLUGIN_PATH") or paths.cache_dir() / "packer-plugins")


def _has(plugin: Plugin) -> bool:
    """Whether Packer has fetched it: a file and its checksum ("Installing Plugins" in Packer's manual)."""
    ending = "_SHA256SUM"
    sums = (_plugin_dir() / plugin.source).glob(f"packer-plugin-{plugin.name}_v{plugin.version}_*{ending}")
    return any(
        binary.is_file() and cache.sha256_file(binary) == noted.read_text().strip()
        for noted in sums
        for binary in (noted.with_name(noted.name.removesuffix(ending)),)
    )


def call(
    executable: str,
    command: str,
    template: Path,
    options: Mapping[str, object],
    heard: Callable[[Line], None],
    log: Path,
) -> None:
    """Run one Packer command to its end.

    It runs in a session of its own, so that an interruption here becomes the one SIGTERM after
    which Packer removes its machine and its files; this returns when all of its processes ended.

    :param options: what packer.py makes flags of: ``{"var_file": path}``.
    :param heard: called with each line of the stream.
    :param log: the stream is kept there.
    :raises BuildError: Packer fails; with the first error that it named, or a script's last words.
    """
    request = {
        "executable": executable,
        "command": command,
        "template": str(template),
        "options": dict(options),
    }
    errors: list[str] = []
    last_words: list[str] = []
    with log.open("w") as kept:
        child = subprocess.Popen(
            [sys.executable, "-m", "builder.bake.packer_session", json.dumps(request)],
            cwd=paths.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            env={
                **os.environ,
                "CHECKPOINT_DISABLE": "1",
                "PACKER_CACHE_DIR": str(paths.cache_dir() / "packer"),
                "PACKER_PLUGIN_PATH": str(_plugin_dir()),
                # QEMU's own words are in Packer's debug log alone.
                "PACKER_LOG": "1",
                "PACKER_LOG_PATH": str(log.with_suffix(".debug.log")),
            },
        )
        assert child.stdout is not None  # noqa: S101
        try:
            for raw in child.stdout:
                kept.write(raw)
                kept.flush()
                line = parse(raw)
                if line is None:
                    continue
                if line.kind == "error" or line.data[:1] == ["error"]:
                    errors.append(line.text or line.data[-1])
                elif _SCRIPT_FAILED in line.text:
                    # What programs of it printed before, all of it, counts as errors, too.
                    last_words = last_words or [_OF_SOURCE.sub("", errors[-1])] if errors else []
                heard(line)
        except BaseException:
            _end(child)
            raise
        code = child.wait()
    if code != 0:
        lines = [
            line.strip() for error in last_words or errors for line in error.splitlines() if line.strip()
        ]
        # Failed getting the "github.com/hashicorp/qemu" plugin:
        said = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]) or f"exit {code}"
        raise BuildError(f"packer {command} failed: {said}", f"The whole log: {log}")


def _end(child: "subprocess.Popen[str]") -> None:
    """SIGTERM to the session, then wait until its last process has closed the stream."""
    os.killpg(child.pid, signal.SIGTERM)
    assert child.stdout is not None  # noqa: S101
    drain = threading.Thread(target=child.stdout.read, daemon=True)
    drain.start()
    drain.join(timeout=60)
    if drain.is_alive():
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
