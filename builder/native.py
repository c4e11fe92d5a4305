"""Bake in a cloud itself: Packer's own builder starts a server there, installs, and takes a snapshot."""

import json
import os

from builder import cache, definition, package, packer, paths
from builder.clouds import cloud
from builder.errors import BuildError
from builder.progress import step

# In a server on the internet the packages come from the distribution's archive.
_SCRIPTS = {"install.sh": "native.sh"}


def build(provider: str, region: str, secrets: dict[str, str], dry: bool) -> str:
    """Run Packer.

    :param secrets: variables of the template that must not be on a command line or in a file.
    :param dry: only validate the template.
    :return: the snapshot's id.
    :raises BuildError: Packer fails; it removes what it made.
    """
    image = definition.load_image("cloud")
    template = paths.PACKER / "native" / f"{provider}.pkr.hcl"
    executable = packer.ready(template)
    log = paths.OUT / "logs" / f"native-{provider}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    variables = {
        "name": f"microblog-{package.version()}",
        "region": region,
        "deb": str(package.build(False)),
        "packages": image.packages,
        "provision": [_SCRIPTS.get(script, script) for script in image.provision],
    }
    # In the environment alone: Packer reads PKR_VAR_name for a variable.
    os.environ.update({f"PKR_VAR_{name}": secret for name, secret in secrets.items()})
    with cache.scratch(paths.OUT / "work") as work:
        templates = work / "templates"
        templates.mkdir()
        for path in (paths.PACKER / "provision", template):
            (templates / path.name).symlink_to(path)
        packer.name_plugins(template, packer.version(executable), templates)
        file = templates / "variables.pkrvars.json"
        file.write_text(json.dumps(variables))
        options = {"var_file": str(file)}
        packer.call(executable, "validate", templates, options, lambda _: None, log)
        if dry:
            cloud.shown(f"packer build, with its builder for {provider}", variables)
            return "ID"
        found: list[str] = []

        def hear(line: packer.Line) -> None:
            if line.kind == "artifact" and line.data[1:2] == ["id"]:
                found.append(line.data[2].rpartition(":")[2])
            elif line.text:
                now.update(line.text.strip()[:60])

        with step(f"Baking with {provider}", f"Baked with {provider}") as now:
            packer.call(executable, "build", templates, options, hear, log)
    if not found:
        raise BuildError("Packer names no snapshot", f"The whole log: {log}")
    return found[-1]
