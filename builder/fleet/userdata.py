"""What each machine of a fleet is told when it begins: user data for cloud-init."""

import json
import textwrap
from dataclasses import dataclass
from typing import Any

from builder.fleet.plan import Fleet, Machine

LARGEST = 16 << 10
"""What Linode and AWS take of user data, in bytes."""
FOLDER = "/etc/fleet"
"""Of what `fleet-machine`, in the images (packer/files/fleet), makes what the machine's programs read."""


@dataclass(frozen=True)
class File:
    """One that a machine has before its programs start."""

    path: str
    content: str
    mode: str = "0644"
    owner: str = "root:root"


def of_machine(fleet: Fleet, machine: Machine, known: dict[str, Any]) -> str:
    """Its user data. :param known: the fleet's secrets."""
    keys = "".join(f"  - {json.dumps(key)}\n" for key in fleet.ssh_keys)
    return (
        f"#cloud-config\n# {machine.name}, of the fleet of {fleet.site}: it has secrets in it.\n"
        f"hostname: {machine.name}\nssh_authorized_keys:\n{keys}write_files:\n"
        + "".join(_written(file) for file in files(fleet, machine, known))
    )


def files(fleet: Fleet, machine: Machine, known: dict[str, Any]) -> list[File]:
    """What it is told. :param known: the fleet's secrets; it is told those alone that it needs."""
    own = known["machines"][machine.name]
    found = [
        File(f"{FOLDER}/self", _self(fleet, machine)),
        File(f"{FOLDER}/machines", machines(fleet)),
        File(f"{FOLDER}/tls/ca.pem", known["authority"]["cert"]),
        File(f"{FOLDER}/tls/cert.pem", own["cert"]),
        File(f"{FOLDER}/tls/key.pem", own["key"], "0600"),
    ]
    if machine.kind == "database":
        words = ("database_password", "copy_password")
        lines = "".join(f"{word.upper()}={known[word]}\n" for word in words)
        found.append(File(f"{FOLDER}/secrets", lines, "0600"))
    if machine.kind == "app":
        found += [
            File("/etc/microblog/tls/cert.pem", own["cert"]),
            File("/etc/microblog/tls/key.pem", own["key"], "0600"),
            # The package's user is in the image.
            File("/etc/microblog/microblog.env", _settings(fleet, known), "0640", "root:microblog"),
        ]
    return found


def machines(fleet: Fleet) -> str:
    """The list that every machine has: kind, name and address, a line each."""
    return "".join(f"{one.kind} {one.name} {one.address}\n" for one in fleet.machines)


def _self(fleet: Fleet, machine: Machine) -> str:
    """What it is, as a shell reads it. Nothing of it has signs that the shell knows."""
    values = {
        "KIND": machine.kind,
        "NAME": machine.name,
        "ADDRESS": machine.address,
        "SITE": fleet.site,
        "OWNER": f"'{fleet.owner}'",
        "SHARED": fleet.shared,
        "BEGINS": "yes" if _begins(fleet, machine) else "",
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _begins(fleet: Fleet, machine: Machine) -> bool:
    """Whether it may begin the databases' cluster: the first of them, once. One that was made anew, and
    did so while it reached no other, would have an empty one: the others would get that."""
    databases = fleet.of("database")
    return machine == databases[0] and (not fleet.begun or len(databases) == 1)


def _settings(fleet: Fleet, known: dict[str, Any]) -> str:
    """The application's settings file; a value with special signs in single quotes."""
    # By the machine's own HAProxy, which passes TLS on to the node that is written to.
    database = (
        f"mysql+pymysql://microblog:{known['database_password']}@127.0.0.1:3306/microblog"
        f"?ssl_ca={FOLDER}/tls/ca.pem"
    )
    balancers = ",".join(f"{one.address}/32" for one in fleet.of("balancer"))
    values = {
        **fleet.settings,
        "SECRET_KEY": known["secret_key"],
        "CLAIM_CODE": known["claim_code"],
        "DATABASE_URL": database,
        "HOST_NAMES": fleet.site,
        "PROXY_NETWORKS": balancers,
        "DRAIN_SECONDS": "5",
    }
    return "".join(f"{name}={_quoted(value)}\n" for name, value in values.items())


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _written(file: File) -> str:
    text = textwrap.indent(file.content, " " * 6)
    return (
        f'  - path: {file.path}\n    owner: {file.owner}\n    permissions: "{file.mode}"\n'
        f"    content: |\n{text}"
    )
