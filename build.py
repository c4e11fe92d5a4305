#!/usr/bin/env python3
"""Microblog's image builder: one command per verb. What they do is in builder/."""

import contextlib
import errno
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

# Python leaves it out where it is told to be careful (PYTHONSAFEPATH).
sys.path[:0] = [str(Path(__file__).resolve().parent)]

from builder import bootstrap  # noqa: E402
from builder.core import first_process, surroundings  # noqa: E402
from builder.core.errors import BuildError  # noqa: E402


def _fail(error: BuildError) -> None:
    print(f"build.py: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  {error.hint}", file=sys.stderr)
    sys.exit(1)


def _interrupt(number: int, _: FrameType | None) -> None:
    """End as Ctrl-C does, so that everything half-done is removed."""
    # A terminal that is closed says so more than once: the second must not end the tidying up.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _interrupted() -> None:
    with contextlib.suppress(OSError):
        print("build.py: interrupted; run it again to go on", file=sys.stderr)
    sys.exit(130)


def _listen() -> None:
    # SIGINT too: a shell without job control starts background jobs, and all that these start, deaf to it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    # Who is started by nohup is meant to outlast the terminal.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """What was printed is written by the end, or it is said that it is not."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:
            # Another file's.
            raise
        # It has no place to go: a full disk, or nobody who reads it. Python would try again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        _fail(BuildError(f"stdout can't be written: {error.strerror}"))


if __name__ == "__main__":
    surroundings.settle()
    first_process.stand_aside()
    _listen()
    try:
        with _answered():
            bootstrap.prepare(sys.argv[1:])
    except BuildError as error:
        _fail(error)
    except OSError as error:
        _fail(BuildError(str(error), "Is the disk full, or the cache a place that can't be written to?"))
    except KeyboardInterrupt:
        _interrupted()

import click  # noqa: E402 - bootstrap has just seen to it

from builder.core import paths, progress  # noqa: E402
from builder.disk import format as formats  # noqa: E402
from builder.ship import cloud  # noqa: E402
from builder.vm.accelerator import ACCELERATORS  # noqa: E402

_accelerator = click.option(
    "--accel",
    type=click.Choice(ACCELERATORS),
    default="auto",
    show_default=True,
    help="KVM where a guest comes up with it, else TCG (emulation).",
)
_packer = click.option(
    "--packer",
    metavar="FILE",
    type=click.Path(path_type=Path),
    expose_value=False,
    callback=lambda _context, _option, given: _choose_packer(given),
    help="The Packer to use. Else the one in PATH; where there is none, HashiCorp's is fetched.",
)
_keep_failed = click.option(
    "--keep-failed",
    is_flag=True,
    help="Leave the machine, or the chroot, of what fails until Ctrl-C, and say how to get in.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")


def _choose_packer(given: Path | None) -> None:
    from builder.bake import packer_release

    if given:
        packer_release.choose(given)


class _Group(click.Group):
    """Makes one clear line of every error that a user can mend."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except BuildError as error:
            if context.params.get("debug"):
                raise
            _fail(error)
        except KeyboardInterrupt:
            _interrupted()
        except OSError as error:
            if context.params.get("debug"):
                raise
            full = "Free some space there; what is done stays" if error.errno == errno.ENOSPC else ""
            _fail(BuildError(str(error), full or "With --debug before the verb there is a traceback"))
        finally:
            paths.hand_over()
        return None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks, and why something is made anew.")
def main(debug: bool) -> None:
    """Build Microblog's package and images, check them, try them out.

    Progress goes to stderr; the results' paths are the last lines on stdout.
    """
    if debug:
        progress.show_details()


@main.command(epilog="Example: ./build.py deb")
@click.option("--fresh", is_flag=True, help="Build even if nothing changed.")
def deb(fresh: bool) -> None:
    """Build the Debian package, dist/microblog_VERSION_all.deb."""
    from builder.deb import package

    click.echo(package.build(fresh))


@main.command(epilog="Example: ./build.py repo --url https://apt.example.org")
@click.option(
    "--output", metavar="DIR", type=click.Path(path_type=Path), help="dist/repository if not given."
)
@click.option(
    "--key", metavar="FINGERPRINT", help="Of your own GnuPG keyring; one is made and kept if not given."
)
@click.option("--url", help="Where machines will find the folder.")
@click.option(
    "--keep", metavar="N", type=click.IntRange(1), default=5, show_default=True, help="So many versions stay."
)
@click.option(
    "--to", "where", metavar="PLACE", help="Then put it to s3://BUCKET[/PREFIX], or HOST:/FOLDER (rsync)."
)
@click.option("--prepare", is_flag=True, help="All but the signature: the key is on another machine.")
@click.option("--finish", is_flag=True, help="Go on with what was prepared, and signed there.")
def repo(
    output: Path | None,
    key: str | None,
    url: str | None,
    keep: int,
    where: str | None,
    prepare: bool,
    finish: bool,
) -> None:
    """Make a signed apt repository of the package, for any web server to serve.

    Earlier versions stay, for machines to go back to. Keys for S3 are in the environment, as
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; AWS_ENDPOINT_URL names another service than Amazon's.
    """
    from builder.deb import repository
    from builder.ship import packages

    repository.look_at(url)
    packages.look_at(where)
    if prepare and (finish or where or key):
        raise click.UsageError("--prepare goes with none of --finish, --to and --key.")
    if prepare:
        click.echo(repository.prepare(output, keep))
        return
    folder = repository.finish(output, url) if finish else repository.make(output, key, url, keep)
    if where:
        packages.publish(folder, where)
    click.echo(folder)


@main.command(epilog="Example: ./build.py images cloud --base debian-12")
@click.argument("names", nargs=-1, metavar="[IMAGE]...")
@click.option("--fresh", is_flag=True, help="Repeat every step, whatever is there.")
@click.option("--no-check", is_flag=True, help="Stop after the bake.")
@_keep_failed
@click.option(
    "--overlay",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Lay the files of DIR into the image: DIR/etc/motd is /etc/motd.",
)
@click.option("--package", "packages", metavar="NAME", multiple=True, help="Install this, too. Repeatable.")
@click.option("--repository", metavar="URL", help="The machines update from this apt repository of yours.")
@click.option(
    "--key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Its public key: microblog.asc of ./build.py repo.",
)
@click.option("--snapshot", metavar="DAY", default="", help="Packages as the archive had them, as 20260131.")
@click.option("--base", "insist", metavar="NAME", help="Bake on this base, and on no other.")
@click.option(
    "--base-file",
    "given",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The base's file as its publisher offers it, instead of a download; it is checked all the same.",
)
@click.option("--sign", "signer", metavar="KEY", help="Sign SHA256SUMS: a GnuPG key, or minisign's key file.")
@_packer
@_accelerator
@_json
def images(
    names: tuple[str, ...],
    fresh: bool,
    no_check: bool,
    keep_failed: bool,
    overlay: Path | None,
    packages: tuple[str, ...],
    repository: str | None,
    key: Path | None,
    snapshot: str,
    insist: str | None,
    given: Path | None,
    signer: str | None,
    accel: str,
    as_json: bool,
) -> None:
    """Bake, boot and check images: the cloud's and the Pi's, or those named."""
    from builder import make as conductor
    from builder import report
    from builder.bake import wishes
    from builder.core.request import Request
    from builder.defs import definition
    from builder.results import sign

    wanted = names or tuple(definition.usual())
    sources = wishes.look_at(
        wanted, base=insist, base_file=given, laid=overlay, packages=packages, url=repository, key=key,
        day=snapshot,
    )  # fmt: skip
    if signer:
        sign.require(signer)
    asked = Request(
        insist=insist,
        given=given,
        accelerator=accel,
        fresh=fresh,
        checked=not no_check,
        keep_failed=keep_failed,
        overlay=overlay,
        sources=sources,
        packages=packages,
        snapshot=snapshot,
    )
    conductor.look_at(wanted, asked)
    attempts = [conductor.attempt(name, asked) for name in wanted]
    good = [attempt.result for attempt in attempts if attempt.result and not attempt.error]
    if as_json:
        click.echo(report.as_json(attempts))
    else:
        click.echo(report.table(attempts))
        for result in good:
            click.echo(result.image)
            click.echo(result.manifest)
        if good:
            click.echo(good[-1].sums)
    if len(good) < len(attempts):
        bad = " ".join(attempt.name for attempt in attempts if attempt.error)
        raise BuildError(f"not good: {bad}", "Mend it, then run the same again: what is good stays")
    if signer:
        sign.sign(good[-1].sums, signer)


@main.command(epilog="Example: ./build.py boot cloud --https-port 8443")
@click.argument("image")
@click.option(
    "--keep", metavar="DIR", type=click.Path(path_type=Path), help="Keep the machine's disk in DIR."
)
@click.option(
    "--memory", metavar="MB", type=click.IntRange(128), help="Memory; as the image says if not given."
)
@click.option(
    "--ssh-key", metavar="FILE", type=click.Path(path_type=Path), help="Private key; FILE.pub opens it."
)
@click.option("--ssh-port", type=click.IntRange(1, 65535), help="On 127.0.0.1; a free one if not given.")
@click.option("--http-port", type=click.IntRange(1, 65535), help="Likewise.")
@click.option("--https-port", type=click.IntRange(1, 65535), help="Likewise.")
@_accelerator
def boot(
    image: str,
    keep: Path | None,
    memory: int | None,
    ssh_key: Path | None,
    ssh_port: int | None,
    http_port: int | None,
    https_port: int | None,
    accel: str,
) -> None:
    """Start a baked IMAGE (a name or a file) until Ctrl-C, on a throw-away disk."""
    from builder.vm import trial

    ports = {"ssh": ssh_port, "http": http_port, "https": https_port}
    trial.run(image, keep, memory, ssh_key, {name: port for name, port in ports.items() if port}, accel)


@main.command(epilog="Example: ./build.py check cloud")
@click.argument("image")
@click.option("--thorough", is_flag=True, help="Add the long drills.")
@click.option(
    "--board", is_flag=True, help="Instead, start a card on QEMU's Raspberry Pi 3 and watch its console."
)
@_keep_failed
@click.option("--sign", "signer", metavar="KEY", help="Sign SHA256SUMS, as images --sign does.")
@_accelerator
@_json
def check(
    image: str, thorough: bool, board: bool, keep_failed: bool, signer: str | None, accel: str, as_json: bool
) -> None:
    """Boot a baked IMAGE (a name or a file) and run its tests over SSH."""
    from builder import make as conductor
    from builder import report
    from builder.core.request import Request
    from builder.results import library, sign
    from builder.vm import board as raspberry

    if signer:
        sign.require(signer)
    found = library.find(image)
    asked = Request(accelerator=accel, thorough=thorough, keep_failed=keep_failed)
    try:
        if board:
            seen = raspberry.watch(found)
        else:
            result = conductor.check(found.image, asked)
    except BuildError as error:
        if as_json:
            click.echo(json.dumps(report.told(error)))
        raise
    if board:
        click.echo(json.dumps(seen) if as_json else raspberry.table(seen))
        raspberry.require_up(seen, found.image)
        return
    click.echo(json.dumps(result.facts.as_dict()["check"]) if as_json else result.image)
    if signer:
        sign.sign(result.sums, signer)


@main.command(epilog="Example: ./build.py flash pi /dev/sdb --hostname garden --wifi 'Our Wi-Fi'")
@click.argument("image")
@click.argument("device", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--hostname", metavar="NAME", help="The address will be http://NAME.local.")
@click.option(
    "--ssh-key", metavar="FILE", type=click.Path(exists=True, path_type=Path), help="Public key for user pi."
)
@click.option("--wifi", metavar="NAME", help="Wi-Fi; its password is asked for.")
@click.option("--wifi-country", metavar="XX", help="Where it is: DE, GB, US ...")
@click.option("--wifi-password", envvar="MICROBLOG_WIFI_PASSWORD", hidden=True)
@click.option(
    "--size", "exact", metavar="BYTES", type=int, help="The disk's size: needed for what looks like no card."
)
def flash(
    image: str,
    device: str | None,
    yes: bool,
    hostname: str | None,
    ssh_key: Path | None,
    wifi: str | None,
    wifi_country: str | None,
    wifi_password: str | None,
    exact: int | None,
) -> None:
    """Write the Pi's IMAGE (a name or a file) to the card in DEVICE; without it, list what there is.

    A Wi-Fi's password may also be in the environment, as MICROBLOG_WIFI_PASSWORD.
    """
    from builder.ship import card_settings
    from builder.ship import flash as writer

    if wifi_country and not wifi:
        raise BuildError("--wifi-country needs --wifi", "Name the Wi-Fi, too")
    if wifi and not wifi_country:
        raise BuildError("--wifi needs --wifi-country", "Two letters, as DE: they decide on the channels")
    if wifi and device and not wifi_password:
        wifi_password = click.prompt(f"Password of {wifi}", hide_input=True, err=True)
    settings = {
        "host name": [hostname] if hostname else [],
        "wifi country": [wifi_country] if wifi and wifi_country else [],
        "wifi name": [wifi] if wifi else [],
        "wifi password": [wifi_password] if wifi and wifi_password else [],
        "ssh key": card_settings.keys(ssh_key) if ssh_key else [],
    }
    writer.flash(
        image,
        device,
        {key: values for key, values in settings.items() if values},
        lambda disk, file: yes
        or click.confirm(
            f"Everything on this disk will be lost:\n  {disk}\nWrite {file.name} to it?", err=True
        ),
        exact,
    )


@main.command(epilog="Example: ./build.py verify ~/Downloads --key 1234...ABCD")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--key", default="", help="Who must have signed: a fingerprint, or minisign's public key.")
def verify(directory: Path, key: str) -> None:
    """Check downloaded images in DIRECTORY: signature, checksums, manifests, bills of materials."""
    from builder.results import verify as checker

    for line in checker.verify(directory, key):
        click.echo(line)


@main.command(epilog="Example: ./build.py vagrant cloud --provider libvirt")
@click.argument("image", default="cloud")
@click.option(
    "--provider",
    "providers",
    multiple=True,
    type=click.Choice(["libvirt", "virtualbox"]),
    help="Both if none.",
)
def vagrant(image: str, providers: tuple[str, ...]) -> None:
    """Make Vagrant's boxes of a baked IMAGE."""
    from builder.ship import vagrant as boxes

    for path in boxes.make(image, providers):
        click.echo(path)


@main.command(epilog="Example: ./build.py export cloud --format ova")
@click.argument("image")
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(formats.names()),
    help="Of the file; docs/export.md says which host takes which.",
)
@click.option(
    "--output", metavar="DIR", type=click.Path(path_type=Path), help="images/out/exported if not given."
)
def export(image: str, form: str, output: Path | None) -> None:
    """Make a file of another form of a baked IMAGE (a name or a file), for a host that wants it."""
    from builder.ship import export as exporter

    for path in exporter.export(image, form, output):
        click.echo(path)


@main.command(epilog="Example: LINODE_TOKEN=... ./build.py publish linode --region eu-central")
@click.argument("provider", type=click.Choice(cloud.names()))
@click.argument("image", default="cloud")
@click.option("--region", default="", help="The provider's; its usual one if not given.")
@click.option("--bucket", default="", help="A bucket of yours that the provider fetches the image from.")
@click.option("--url", default="", help="Where you have put the file, or for Lightsail the package.")
@click.option("--dry-run", "dry", is_flag=True, help="Show each call, make none.")
@click.option("--native", is_flag=True, help="Bake there, with Packer's own builder, on its Ubuntu 22.04.")
@click.option("--prepare", "only_prepare", is_flag=True, help="Only make the file that the provider takes.")
@click.option(
    "--remove", is_flag=True, help="Take back what earlier runs made: IMAGE is its id or name there, or all."
)
@_packer
def publish(
    provider: str,
    image: str,
    region: str,
    bucket: str,
    url: str,
    dry: bool,
    native: bool,
    only_prepare: bool,
    remove: bool,
) -> None:
    """Make a snapshot of a baked IMAGE in your account with a provider.

    Tokens are in the environment: DIGITALOCEAN_TOKEN, LINODE_TOKEN, or AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY. Lightsail takes no images: for it a launch script is printed.
    """
    from builder.ship import native as there
    from builder.ship import publish as ship

    options = ship.Options(region, bucket, url, dry, native, only_prepare, remove)
    run = there.run if native else ship.run
    for line in run(provider, image, options):
        click.echo(line)


@main.command(epilog="Example: ./build.py cache --clear bases")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--clear", is_flag=True, help="Remove what is listed, but for what is in use.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def cache(names: tuple[str, ...], clear: bool, yes: bool) -> None:
    """List what is kept in the cache, how large it is and why: all of it, or by NAME, as bases or 'pool*'."""
    from builder.core import stores

    entries = stores.choose(names)
    for entry in entries:
        click.echo(entry)
    click.echo(f"{sum(entry.bytes for entry in entries) / 1e6:>8.0f} MB altogether")
    if clear and (yes or click.confirm("Remove all of this, to be made or fetched again?", err=True)):
        with progress.step("Removing it", "Removed what is not in use"):
            gone, stay = stores.clear(entries)
        for entry in stay:
            progress.say(f"In use, and so it stays: {entry.name}")
        progress.say(f"Removed {len(gone)}, {sum(entry.bytes for entry in gone) / 1e6:.0f} MB")


@main.command(epilog="Example: ./build.py test app")
@click.argument("suites", nargs=-1, metavar="[SUITE]...")
@click.option("--thorough", is_flag=True, help="Add the long drills.")
@click.option(
    "--mutate", type=click.IntRange(1), metavar="N", help="Break N places of microblog/; do the tests notice?"
)
@click.option("--seed", type=int, metavar="N", help="Which places; by chance if not given.")
@click.option(
    "--within", default="microblog", metavar="PATH", help="With --mutate: files or folders, with commas."
)
@_json
def test(
    suites: tuple[str, ...],
    thorough: bool,
    mutate: int | None,
    seed: int | None,
    within: str,
    as_json: bool,
) -> None:
    """Run the tests: the suites named, or all.

    SUITE is images, app, browser, builder, package or stranger; by name only: pi, the part of images that is
    the Pi's, and fleet.
    """
    from builder.dev import suites as runner

    if mutate is not None:
        runner.mutate(suites, mutate, seed, within, as_json)
    else:
        runner.run(suites, thorough)


@main.command(epilog="Example: ./build.py fleet make FLEET.toml --out garden")
@click.argument("what", type=click.Choice(["make", "add", "remove", "status", "try"]))
@click.argument("path", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.argument("name", required=False)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where to; FLEET beside FLEET.toml else.",
)
@click.option("--kind", type=click.Choice(["database", "app", "balancer"]), help="Of the machine to add.")
@click.option("--address", help="Of the machine to add, in the fleet's own network.")
@click.option(
    "--identity",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Private key that opens the secrets; ~/.ssh/id_ed25519 if not given.",
)
@click.option(
    "--env",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="microblog.env of the site that grows into it, whose key it keeps: make.",
)
@click.option("--through", metavar="HOST", default="", help="Ask from there, by SSH: status.")
@_json
def fleet(
    what: str,
    path: Path | None,
    name: str | None,
    out: Path | None,
    kind: str | None,
    address: str | None,
    identity: Path | None,
    env: Path | None,
    through: str,
    as_json: bool,
) -> None:
    """Have several machines serve one site, or look at such.

    FILE is FLEET.toml (docs/fleet.md). "make" writes what each machine is told when it begins, and README.txt
    on how to have them at a provider. "add" and "remove" change one of them (NAME). "status" asks
    all. "try" starts a small fleet on this machine, prints its address, and goes on until Ctrl-C.
    """
    from builder.fleet import make, plan, status

    if what == "try":
        fleet_try()
        return
    if path is None:
        raise click.UsageError(f"{what} needs FLEET.toml: docs/fleet.md has an example.")
    if bool(name) != (what in ("add", "remove")):
        raise click.UsageError(f"{what} needs a machine's NAME." if not name else f"{what} takes no NAME.")
    if env and what != "make":
        raise click.UsageError(f"{what} takes no --env.")
    folder = out or path.with_suffix("")
    if what == "status":
        asked = plan.load(path)
        answers = status.ask(asked, folder, through)
        told = json.dumps([vars(one) for one in answers], indent=2) if as_json else status.table(answers)
        click.echo(told)
        if status.has_begun(asked, answers):
            progress.say(f"The databases run together: write begun = true into {path}, see docs/fleet.md")
        if bad := [one.name for one in answers if not one.good]:
            raise BuildError(f"not good: {', '.join(bad)}", "What they answered is above; docs/fleet.md")
        return
    if what == "add":
        if not (name and kind and address):
            raise click.UsageError("add needs --kind and --address.")
        changed = make.add(path, folder, plan.Machine(kind, name, address), identity)
    elif what == "remove":
        changed = make.remove(path, folder, name or "", identity)
    else:
        changed = make.make(path, folder, identity, env)
    if as_json:
        click.echo(json.dumps([str(file) for file in changed], indent=2))
    else:
        for file in changed or [folder / make.GUIDE]:
            click.echo(file)


def fleet_try() -> None:
    """Three databases, two machines of the application and what leads to them, as processes; as root, each
    with a network of its own, and two balancers with one address."""
    from builder.dev import fleet as small

    small.show()


@main.command(epilog="Example: ./build.py bench bake --json")
@click.argument("benchmark", metavar="app|bake|home|memory|pi|site")
@_json
def bench(benchmark: str, as_json: bool) -> None:
    """Run a benchmark of tests/bench/ and print its table."""
    from builder.dev import benchmarks

    click.echo(benchmarks.run(benchmark, as_json))


if __name__ == "__main__":
    with _answered():
        main()
