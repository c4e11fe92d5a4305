"""``microblog restore``: a backup in the place of what is there, all of it or nothing.

Everything that can fail is done beside the site: the file is checked to its end, and its rows
are in a second database at the installed version's schema, before the site stops. Then a
directory is renamed to :data:`layout.RESTORING`; from there on the restore only goes forward, if need be
in the next ``microblog setup`` or at the next boot.
"""

import hashlib
import io
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from dotenv import dotenv_values

import microblog
from microblog import names
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.backups import archive, backup
from microblog.host.backups.progress import Progress
from microblog.host.database import kinds, rows, schema, staging
from microblog.host.machine import files, layout, lock, privileges, signals
from microblog.host.site import authority, certificate, envfile, maintenance, nginx, supervisor

_PARTIAL = layout.BACKUPS / ".restoring.partial"
_PLAN = "plan.json"
# Where certbot keeps, and renews, the site's certificate ('microblog https').
_LINEAGE = Path("/etc/letsencrypt/live/microblog")
# An account's numbers: how many rows of which table name it in which column; and who else they name.
COUNTED = (
    ("posts_count", "posts", "author_id"),
    ("followers_count", "follows", "followed_id", "follower_id"),
    ("following_count", "follows", "follower_id", "followed_id"),
)
# What lets somebody in without a password, and may have been ended or used since the backup: log-ins, tokens
# of programs and the codes for these, links in mails.
ENDED = ("sessions", "api_tokens", "api_grants", "tokens")
# A post's: how many rows of which table name it in which column.
COUNTED_POSTS = (
    ("replies", "posts", "reply_to_id"),
    ("likes", "liked_posts", "post_id"),
    ("reposts", "posts", "repost_of_id"),
)
# Of a table, in a manifest; and the characters of a fact about the backup there.
_ROWS_MAX = 2**53
_FACT_MAX = 100
# Seconds without a piece that was loaded, after which nobody waits for a server any more.
_PATIENCE = 120.0
# What is this machine's own and not the site's.
LOCAL_SETTINGS = (
    *("DATABASE_URL", "TRUSTED_PROXIES", "PROXY_NETWORKS", "HTTPS"),
    *("BIND", "WEB_CONCURRENCY", "WEB_THREADS", "DRAIN_SECONDS", "CLAIM_NEARBY"),
)


def check(path: Path) -> dict[str, Any]:
    """Read a backup to its end; change nothing.

    :return: its manifest.
    :raises HostError: if it is damaged, or of a version that this one does not know.
    """
    with _open(path) as file:
        return _check(file)


def _check(file: BinaryIO) -> dict[str, Any]:
    manifest = privileges.ask("the backup cannot be used", lambda: archive.verify(file))
    revisions, counts = manifest.get("revisions"), manifest.get("rows")
    # These are told, on a terminal and on pages.
    facts = [manifest.get(name, "") for name in ("version", "created", "database", "host")]
    if (
        not isinstance(revisions, list)
        or not isinstance(counts, dict)
        or not all(isinstance(count, int) and 0 <= count <= _ROWS_MAX for count in counts.values())
        or not all(isinstance(fact, str) and len(fact) <= _FACT_MAX and fact.isprintable() for fact in facts)
    ):
        raise HostError(
            "the backup cannot be used: its manifest lacks what belongs there", "take another one"
        )
    strange = set(map(str, revisions)) - schema.known(schema.migrations())[0]
    if strange or not revisions:
        raise HostError(
            f"the backup was made by version {manifest.get('version')}, whose schema this version"
            f" ({microblog.__version__}) does not know",
            "install that version or a newer one; then restore",
        )
    return manifest


def restore(path: Path, say: Callable[[str], None], *, force: bool = False, name: str = "") -> dict[str, Any]:
    """Put a backup in the place of what is there; starting the site is the caller's.

    :param force: go on where the present state cannot be backed up first.
    :param name: what people call the backup, where its file is there for a moment only.
    :return: the backup's manifest.
    :raises HostError: nothing is changed then.
    """
    privileges.require_root("restore", "sudo microblog restore FILE")
    with lock.sole(say):
        return _restore(path, say, force, name or str(path))


def _restore(path: Path, say: Callable[[str], None], force: bool, name: str) -> dict[str, Any]:
    config = Config.load(layout.env_file())
    # Open to the end: the backup of what is there may be one too many, and this the oldest.
    with _open(path) as file:
        manifest = _check(file)
        kinds.of(config.database_url).beside(say).refuse_ties()
        beside = _stage(file, manifest, config, say)
        was_on = maintenance.FLAG.exists()
        try:
            maintenance.on()
            supervisor.stop()
            _keep_present(say, force)
            _be_deaf()
            _commit(name, _config_members(file), [])
        except BaseException:
            _be_deaf()
            # Nothing is changed: the site goes on as it was.
            beside.discard()
            if not was_on:
                supervisor.resume()
                maintenance.off(say)
            raise
    finish(say)
    return manifest


def _be_deaf() -> None:
    """From here on, signals come too late: what they ended now would be left half-way, the site away."""
    signals.outlast(signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def put_back(path: Path, config: Config, say: Callable[[str], None]) -> None:
    """The database alone, as it was before an upgrade, its schema too; the application is stopped.

    :raises HostError: if that fails; the database is then as the upgrade left it.
    """
    with _open(path) as file:
        manifest = _check(file)
        beside = _stage(file, manifest, config, say, newest=False)
    # What the upgrade made goes with it.
    others = {*manifest["rows"], *manifest.get("strangers", []), rows.REVISIONS, rows.LEASE}
    strays = sorted(set(beside.live_tables()) - others)
    _commit(str(path), {}, strays)
    finish(say)


@contextmanager
def staged(
    path: Path, say: Callable[[str], None]
) -> Iterator[tuple[BinaryIO, dict[str, Any], staging.Staging]]:
    """A backup in a second database, to be looked at; the site goes on, and nothing of it stays.

    Under :func:`lock.sole`, and not while a restore has yet to be completed.

    :return: the file, checked; its manifest; where it is.
    :raises HostError: if it could not be restored.
    """
    config = Config.load(layout.env_file())
    with _open(path) as file:
        manifest = _check(file)
        kinds.of(config.database_url).beside(say).refuse_ties()
        beside = _stage(file, manifest, config, say, newest=False)
        try:
            yield file, manifest, beside
        finally:
            beside.discard()


def _keep_present(say: Callable[[str], None], force: bool) -> None:
    """Back up what is about to be replaced."""
    try:
        kept, _ = backup.backup(kind="restore")
    except backup.NothingThere:
        return
    except HostError as error:
        if not force:
            raise HostError(
                f"what is there could not be backed up: {error.message}",
                f"{error.hint or 'mend that'}; or go on without: restore --force",
            ) from None
        say(f"What was there is not kept: {error.message}")
    else:
        say(f"What was there is kept in {kept}")


def _stage(
    file: BinaryIO,
    manifest: dict[str, Any],
    config: Config,
    say: Callable[[str], None],
    *,
    newest: bool = True,
) -> staging.Staging:
    """Load a checked backup into a second database.

    :param newest: bring it to the installed version's schema, and end all log-ins; else it stays as the
        backup has it.
    :raises HostError: if that fails; nothing stays of it.
    """
    database = kinds.of(config.database_url)
    kinds.check_space(database, _size(manifest))
    beside = database.beside(say)
    begun = beside.make(_digest(manifest))
    say(
        "Going on with what was loaded before ..."
        if begun
        else f"Loading {sum(manifest['rows'].values())} rows ..."
    )
    other = replace(config, database_url=beside.url)
    try:
        skipped, missing, left_out = privileges.ask(
            "the backup cannot be loaded", lambda: _load(file, manifest, other, beside, newest, begun), say
        )
    except BaseException:
        beside.discard()
        raise
    if skipped:
        say(f"Left out, as no tables of Microblog's: {', '.join(skipped)}")
    if missing:
        say(f"Left out, as this database does not take them: {', '.join(left_out)}")
        if more := missing - len(left_out):
            say(f"Left out with them, as belonging to them: {more} rows")
    return beside


def _digest(manifest: dict[str, Any]) -> str:
    """Of a checked backup, by what is in it."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _size(manifest: dict[str, Any]) -> int:
    """How much is in a checked backup, in bytes."""
    return sum(member["size"] for member in manifest["members"].values())


def finish(say: Callable[[str], None]) -> bool:
    """Complete a restore that has got as far as :data:`layout.RESTORING`; nothing to do without.

    :return: whether there was one.
    """
    # A half-made plan was never begun.
    shutil.rmtree(_PARTIAL, ignore_errors=True)
    if not layout.RESTORING.is_dir():
        return False
    plan = json.loads((layout.RESTORING / _PLAN).read_text())
    url = Config.load(layout.env_file()).database_url
    supervisor.stop()
    beside = kinds.of(url).beside(say, int(plan.get("format", 1)))
    if beside.leftover():
        beside.swap(plan["strays"])
    _put_config(say)
    beside.discard()
    shutil.rmtree(layout.RESTORING)
    say(f"Restored {plan['backup']}")
    return True


def _config_members(file: BinaryIO) -> dict[str, str]:
    """The configuration's files in a checked backup."""
    wanted = {backup.ENV_MEMBER: "microblog.env", **backup.TLS_MEMBERS}
    return {wanted[name]: data.decode() for name, data in archive.members(file) if name in wanted}


def _commit(name: str, config: dict[str, str], strays: list[str]) -> None:
    """Write down all that :func:`finish` needs, at once."""
    layout.BACKUPS.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.rmtree(_PARTIAL, ignore_errors=True)
    _PARTIAL.mkdir(mode=0o700)
    if env := config.get("microblog.env"):
        here = layout.env_file().read_text(encoding="utf-8")
        config = {**config, "microblog.env": merge_settings(env, here)}
    plan = {"format": staging.FORMAT, "backup": name, "strays": strays}
    for name, text in {**config, _PLAN: json.dumps(plan)}.items():
        files.write(_PARTIAL / name, text, 0o600)
    if env:
        _see_settings(_PARTIAL / "microblog.env")
    files.replace(_PARTIAL, layout.RESTORING)


def _see_settings(path: Path) -> None:
    """From here on the restore only goes forward: with settings that nobody can read, nowhere.

    :raises HostError: this version refuses them.
    """
    try:
        Config.load(path)
    except HostError as error:
        text = error.message.replace(str(path), "microblog.env")
        raise HostError(
            f"the backup's settings cannot be used: {text}", "take another one; nothing was changed"
        ) from None


def _put_config(say: Callable[[str], None]) -> None:
    _, gid = layout.user_ids()
    env = layout.RESTORING / "microblog.env"
    if env.exists():
        before = Config.load(layout.env_file()).host_names
        files.write(layout.env_file().resolve(), env.read_text(encoding="utf-8"), 0o640, 0, gid)
        told = Config.load(layout.env_file()).host_names
        if told and told != before:
            here = ", ".join(before or names.machine_names()[:1])
            say(f"The site answers to the names in the backup alone: {', '.join(told)}")
            say(f"To have it answer to {here}, set HOST_NAMES in {layout.env_file()}; then: microblog setup")
    _put_authority(say)
    chain, key = layout.RESTORING / "cert.pem", layout.RESTORING / "key.pem"
    if not (chain.exists() and key.exists() and layout.TLS.is_dir()):
        return
    if not certificate.ours() and certificate.pair() and certificate.ends() >= certificate.ends(chain):
        say("The certificate that is here stays: the one in the backup ends sooner")
        return
    if certificate.ours() and certificate.pair() and certificate.ends(chain) < time.time():
        say(f"The certificate in the backup has ended, and is left out: {_get_one(chain)} gets another")
        return
    nginx.mark_stale()
    certificate.put(chain.read_text(), key.read_text())
    if not certificate.ours() and not _LINEAGE.is_dir():
        say(f"Nothing renews the certificate on this machine: {_get_one()} gets one that is renewed")


def _put_authority(say: Callable[[str], None]) -> None:
    """The site's own authority, that the devices which trust it go on doing so."""
    found, key = layout.RESTORING / authority.CERTIFICATE.name, layout.RESTORING / authority.KEY.name
    if not (found.exists() and key.exists() and layout.TLS.is_dir()):
        return
    # One for other names, or for more, is none that anybody here should be asked to trust.
    if not authority.fits(Config.load(layout.env_file()).host_names, found, key):
        say("The certificate authority in the backup is not for this machine's names, and is left out")
        return
    authority.put(found.read_text(), key.read_text())


def _get_one(path: Path = certificate.CERTIFICATE) -> str:
    """The command that gets a certificate for the same names."""
    return f"microblog https {' '.join(certificate.domains(path)) or 'DOMAIN'}"


def merge_settings(theirs: str, ours: str) -> str:
    """A backup's environment file with this machine's own settings in it."""
    kept = envfile.without(theirs, LOCAL_SETTINGS).splitlines()
    values = dotenv_values(stream=io.StringIO(ours), interpolate=False)
    own = [f"{name}={envfile.quote(values[name] or '')}" for name in LOCAL_SETTINGS if values.get(name)]
    return "\n".join([*kept, *own]) + "\n"


def _load(
    file: BinaryIO,
    manifest: dict[str, Any],
    config: Config,
    beside: staging.Staging,
    newest: bool,
    begun: bool,
) -> tuple[list[str], int, list[str]]:
    """As the application's user: schema, rows, and the way to the newest schema.

    :param begun: whether schema and some rows are there.
    :return: tables that are in the backup and not in the schema; how many rows the database did not take;
        which of them, and why.
    """
    from flask_migrate import upgrade

    from microblog.database import db

    app = microblog.create_app(config)
    with app.app_context():
        beside.attach(db.engine)
        for revision in [] if begun else manifest["revisions"]:
            upgrade(revision=revision)
        db.engine.dispose()
    loader = _fill(file, manifest, beside, ENDED if newest else ())
    skipped = sorted(table for table, count in loader.counts.items() if count < 0)
    for table, count in manifest["rows"].items():
        loaded = loader.counts.get(table, 0) + loader.missing.get(table, 0)
        if table not in skipped and loaded != count:
            raise HostError(f"{count} rows of {table} were expected, {loaded} loaded")
    if newest:
        with app.app_context():
            upgrade()
            db.engine.dispose()
    return skipped, sum(loader.missing.values()), loader.left_out


def _fill(
    file: BinaryIO, manifest: dict[str, Any], beside: staging.Staging, without: Sequence[str]
) -> rows.Loader:
    """Load the rows; where a server goes away meanwhile, and another one or itself comes, from there on.

    :param without: the tables that are left empty.
    """
    from sqlalchemy.exc import DBAPIError

    from microblog.database import is_conflict, is_lost

    progress = Progress("Loading", _size(manifest), privileges.tell)
    reached, ends = 0, time.monotonic() + _PATIENCE
    while True:
        try:
            with rows.connection(beside.url) as opened:
                loader = rows.Loader(opened, beside.prefix, in_pieces=beside.in_pieces)
                for number, (name, data) in enumerate(archive.members(file), 1):
                    if number <= loader.pieces or not name.startswith("database/"):
                        continue
                    loader.add(data)
                    loader.keep(number)
                    if number > reached:
                        progress.add(len(data))
                        reached, ends = number, time.monotonic() + _PATIENCE
                if loader.missing:
                    for counted in COUNTED:
                        loader.recount(*counted)
                    for counted_post in COUNTED_POSTS:
                        loader.recount_posts(*counted_post)
                # Elasticsearch may have what was written after the backup: it begins anew.
                loader.forget("search_index", "search_changes", *without)
                loader.commit()
                # A page that is open in a browser may have a button for a post that the backup does not know.
                # And up to which message or notification somebody has read or deleted them, is known by a
                # number that may be higher than the last one that is there.
                further = dict.fromkeys(("posts", "messages", "notifications"), 1_000_000)
                loader.skip_numbers({**further, "users": 10_000})
                loader.end()
                return loader
        except DBAPIError as error:
            again = beside.in_pieces and (is_lost(error) or is_conflict(error))
            if not again or time.monotonic() > ends:
                raise
        time.sleep(1)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "name a file that 'microblog backup' has made") from None
