"""Where backups go, as the administrators' pages choose it; and a backup that is fetched from there.

A place is made of fields, each checked, and never of an address from outside: no folder of this machine, no
remote of rclone's, no program. What is chosen here gets nothing that root alone may read; what root has
chosen on the command line is not changed, and its key is not told (docs/security.md).
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from microblog.errors import HostError
from microblog.host import setup as whole
from microblog.host.agent.arguments import HOST, Argument, flag, number, one_of, text
from microblog.host.backups import backup, elsewhere, key, places, restore, sheet
from microblog.host.backups import journal as noted
from microblog.host.backups.places import Access, Bucket, Place, Ssh, Usb
from microblog.host.site import secrets, telling
from microblog.host.updates import journal

Say = Callable[[str], None]

# The rule keeps 23; a page shows what one can choose from.
_MOST = 100
# Plain names with slashes between: no hidden folder, no "..", nothing that a shell would read.
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
_FOLDER = rf"{_NAME}(/{_NAME}){{0,20}}"
_ADDRESS = rf"{HOST}|\[[0-9a-f:.]{{2,45}}\]"

PLACE = {
    "kind": Argument(one_of("sftp", "s3", "usb")),
    "host": Argument(text(253, _ADDRESS), ""),
    "port": Argument(number(0, 65535), 0),
    "user": Argument(text(32, r"[A-Za-z0-9_][A-Za-z0-9_.-]*"), ""),
    "folder": Argument(text(200, rf"/?{_FOLDER}"), ""),
    "bucket": Argument(text(63, r"[a-z0-9][a-z0-9.-]+"), ""),
    "plain": Argument(flag, False),
    "label": Argument(text(60, r"[A-Za-z0-9][A-Za-z0-9_ .+-]*"), ""),
    "access_key": Argument(text(128, r"[A-Za-z0-9._~+/=-]+"), "", secret=True),
    "secret": Argument(text(256, r"[A-Za-z0-9._~+/=-]+"), "", secret=True),
    "words": Argument(text(200, r"[A-Za-z ,;.-]+"), "", secret=True),
}
_FIELDS = {"sftp": ("host", "user", "folder"), "s3": ("host", "bucket"), "usb": ("label",)}


def place(given: Mapping[str, Any]) -> Place:
    """The place that checked fields name.

    :raises HostError: one is missing, or it is no place for a page to name.
    """
    kind, host, port = given["kind"], given["host"], given["port"]
    for name in _FIELDS[kind]:
        if not given[name]:
            raise HostError(f"the {name} is missing", "fill it in")
    if kind == "sftp":
        found = places.of(f"sftp://{given['user']}@{host}:{port or 22}/{given['folder']}")
    elif kind == "s3":
        end = f"{'http' if given['plain'] else 'https'}://{host}{f':{port}' if port else ''}"
        parts = [end, given["bucket"], *filter(None, [given["folder"].strip("/")])]
        found = places.of(f"s3:{'/'.join(parts)}")
    else:
        # One that is there: a label alone could be that of any disk of this machine.
        if given["label"] not in places.disks():
            raise HostError(
                f"no USB disk labelled {given['label']} is plugged in", "plug it in, and try again"
            )
        found = places.of(f"usb:{given['label']}")
    assert isinstance(found, (Ssh, Bucket, Usb))  # noqa: S101
    return found


def fields(where: Place) -> dict[str, str]:
    """What a page calls a place that one could have chosen, by the names of its form's fields."""
    if isinstance(where, Ssh):
        return {
            "kind": "sftp",
            "host": where.host,
            "port": str(where.port),
            "user": where.user,
            "folder": where.path,
        }
    if isinstance(where, Bucket):
        parts = where.parts()
        bucket, _, folder = parts.path.strip("/").partition("/")
        return {
            "kind": "s3",
            "service": f"{parts.scheme}://{parts.netloc}",
            "bucket": bucket,
            "folder": folder,
        }
    return {"kind": "usb", "label": where.label} if isinstance(where, Usb) else {}


def _secrets(where: Place, given: Mapping[str, Any]) -> dict[str, str]:
    values = (given["access_key"], given["secret"])
    return dict(zip(where.secrets, values, strict=True)) if where.secrets and all(values) else {}


def state() -> dict[str, Any]:
    """What pages show: ``place`` (its address, None where backups stay here), its ``fields``, ``by_root``,
    ``shown``, ``sent``, ``drilled`` (seconds since 1970, or None), ``failed`` (what was told of each step),
    ``ssh_key`` (the line for another machine), ``disks`` (labels)."""
    known = noted.read()
    now, ssh_key, failed = None, "", [step["message"] for step in known.get("failed", {}).values()]
    try:
        now = elsewhere.chosen()
    except HostError as error:
        failed.insert(0, error.message)
    # Without ssh, the first attempt installs it.
    with suppress(HostError, OSError):
        ssh_key = places.make_ssh_key()
    return {
        "place": now.place.address if now else None,
        "fields": fields(now.place) if now else {},
        "by_root": bool(now and now.by_root),
        "shown": bool(now and now.shown),
        "sent": known.get("sent", {}).get("when"),
        "drilled": known.get("drilled", {}).get("when"),
        "failed": secrets.cleaned(failed),
        "ssh_key": ssh_key,
        "disks": places.disks(),
    }


def choose(say: Say, **given: Any) -> dict[str, Any]:
    """Have backups go to a place; begin with one."""
    where = place(given)
    before = elsewhere.chosen()
    now = elsewhere.choose(
        where.address, say, secrets=_secrets(where, given), words=given["words"], by_root=False
    )
    if before is None or before.place != now.place:
        _tell(f"goes to {where.address}, too", say)
    path, manifest = backup.backup()
    elsewhere.send(path, manifest, say)
    return {"sheet": not now.shown}


def off() -> None:
    """Send backups nowhere else any more."""
    if elsewhere.off(by_root=False):
        _tell("stays on this machine from now on", lambda _: None)


def _tell(what: str, say: Say) -> None:
    """Nobody changes this unnoticed."""
    telling.tell(
        "backups go elsewhere",
        f"Each backup {what}: somebody has chosen so in the administrators' pages.\n\n"
        "If that was none of you: change your passwords, and choose another place on the machine itself"
        " (microblog backup --to); /var/log/microblog/agent.log says when, and in whose name.",
        say,
    )


def tell_of_restore(what: str, say: Say) -> None:
    """Before it is done: in a backup's settings may be other administrators, and another way of mail."""
    telling.tell(
        "a backup is restored",
        f"{what} is to be put in the place of what is on the site, its settings too: somebody has chosen so"
        " in the administrators' pages.\n\n"
        "If that was none of you: what is there now is kept first, in /var/backups/microblog;"
        " /var/log/microblog/agent.log says when, and in whose name.",
        say,
    )


def show_sheet() -> dict[str, Any]:
    """What is on the recovery sheet: ``place``, its ``fields``, ``words``, ``code`` (a picture, empty
    without segno).

    :raises HostError: there is none to show: somebody has it already, or root has made it.
    """
    now = elsewhere.chosen()
    elsewhere.see_not_roots(now)
    if now is None:
        raise HostError("backups go nowhere else yet: there is no key", "choose a place first")
    if now.shown:
        raise HostError(
            "somebody has the recovery sheet: it is not shown again",
            "sudo microblog backup --sheet FILE.html",
        )
    words = now.access.key
    return {
        **{"place": now.place.address, "fields": fields(now.place)},
        **{"words": words.split("-"), "code": sheet.code(words, "svg")},
    }


def sheet_is_kept() -> None:
    """Somebody has it: it is not shown again."""
    elsewhere.see_not_roots(elsewhere.chosen())
    elsewhere.seen()


def there(say: Say, **given: Any) -> dict[str, Any]:
    """What is at a place, the newest first: ``snapshots``, each with ``id``, ``at`` (seconds since 1970),
    ``bytes`` and ``host``. It takes the key, as :func:`fetch` does."""
    where = place(given)
    access = Access(key.read(given["words"]), _secrets(where, given))
    found = elsewhere.snapshots(where, access, say)[-_MOST:]
    say(f"{len(found)} backups are at {where.address}")
    return {
        "snapshots": [
            {"id": one.id[:16], "at": one.when, "bytes": one.size, "host": one.host[:60]}
            for one in reversed(found)
        ]
    }


def fetch(say: Say, go_on: bool, snapshot: str, **given: Any) -> dict[str, Any]:
    """Put a backup of a place in the place of what is here. Its key is needed, known here or not: an older
    backup holds what is not on the site any more.

    :param go_on: send backups there from then on.
    :param snapshot: its id's beginning, as :func:`there` has it; empty: the newest.
    """
    journal.see_none("nothing is restored")
    where = place(given)
    words, secrets = key.read(given["words"]), _secrets(where, given)
    access = Access(words, secrets)
    with elsewhere.fetched(where, access, say, snapshot=snapshot) as (path, taken, _):
        tell_of_restore(f"The backup of {taken.made()} at {where.address}", say)
        manifest = restore.restore(path, say, name=f"{where.address}, {taken.made()}")
    whole.setup(say=say)
    answer = {"created": manifest.get("created"), "rows": sum(manifest["rows"].values())}
    if go_on:
        try:
            elsewhere.choose(where.address, say, secrets=secrets, words=words, by_root=False)
        except HostError as error:
            say(f"Backups do not go on there: {error.message}")
        else:
            say(f"Backups go on to {where.address}")
    return answer
