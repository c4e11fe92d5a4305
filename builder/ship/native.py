"""Bake in a cloud itself: Packer's own builder starts a server there, installs, and takes a snapshot."""

import json
import os
import time

from builder.bake import packer
from builder.core import cache, paths
from builder.core.errors import BuildError
from builder.core.progress import step
from builder.deb import package
from builder.defs import definition
from builder.defs.definition import Image
from builder.ship import cloud, publish, published

# In a server on the internet the packages come from the distribution's archive.
_SCRIPTS = {"install.sh": "native.sh"}


def run(provider: str, name: str, options: publish.Options) -> list[str]:
    """Let Packer's own builder for a cloud make the snapshot there, on the cloud's Ubuntu 22.04.

    :param name: of the image, which need not be baked.
    :return: lines to print: the snapshot's id, then how a server is started from it.
    :raises BuildError: the options mean nothing together, a credential is missing, or Packer fails.
    """
    publish.checked(provider, name, options)
    found = publish.load(provider)
    image = definition.load_image(name)
    if image.method != "machine":
        raise BuildError(f"{name} is an SD card, which no cloud starts", "Publish the image cloud")
    if not options.dry_run:
        publish.require(found)
    region = options.region or found.region
    made = build(provider, image, region, {} if options.dry_run else found.native(), options.dry_run)
    return [made, "", *publish.how_to_launch(found, made, region)]


def build(provider: str, image: Image, region: str, secrets: dict[str, str], dry: bool) -> str:
    """Run Packer. What it makes is noted before, under its name, so that it can be removed.

    :param secrets: variables of the template that must not be on a command line or in a file.
    :param dry: only validate the template.
    :return: the snapshot's id.
    :raises BuildError: Packer fails; it removes what it made.
    """
    template = paths.PACKER / "native" / f"{provider}.pkr.hcl"
    executable = packer.ready(template)
    log = paths.OUT / "logs" / f"native-{provider}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    now_is = time.strftime("%Y%m%d%H%M", time.gmtime())
    called = published.name(f"microblog-{package.version()}-{image.name}-native", now_is)
    variables = {
        "name": called,
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
        packer.lay_out_scripts(templates)
        (templates / template.name).symlink_to(template)
        packer.name_plugins(template, packer.version(executable), templates)
        file = templates / "variables.pkrvars.json"
        file.write_text(json.dumps(variables))
        options = {"var_file": str(file)}
        packer.call(executable, "validate", templates, options, lambda _: None, log)
        if dry:
            cloud.shown(f"packer build, with its builder for {provider}", variables)
            return "ID"
        found: list[str] = []
        ledger = published.ledger(called, provider, region)
        ledger.note(name=called, asked=called)

        def hear(line: packer.Line) -> None:
            if line.kind == "artifact" and line.data[1:2] == ["id"]:
                found.append(line.data[2].rpartition(":")[2])
            elif line.text:
                now.update(line.text.strip()[:60])

        try:
            with step(f"Baking with {provider}", f"Baked with {provider}") as now:
                packer.call(executable, "build", templates, options, hear, log)
        except BuildError as error:
            # Packer removes what it made, if it can.
            error.hint = f"{error.hint}. Should {called} be left in the account: publish {provider} --remove"
            raise
        if not found:
            raise BuildError("Packer names no snapshot", f"The whole log: {log}")
        ledger.note(image=found[-1], asked=None)
    return found[-1]
