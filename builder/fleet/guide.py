"""README.txt of a fleet: what its owner clicks, or calls, at a provider."""

from collections.abc import Callable

from builder.fleet.plan import Fleet, Machine

_BEGIN = """\
NAME.yaml is what the machine NAME is told when it begins (its user data), from the image of its kind. These
files have secrets in them: once the machines run, delete them; ./build.py fleet make writes them again.
Keep FLEET.toml and the file secrets.* at two places: new secrets are another fleet's.

Begin the databases first, the first one alone: it makes the cluster when it reaches no other node. When it
answers (./build.py fleet status), the others. Then write into FLEET.toml, before its tables: begun = true,
and have this made again: from then on a database that is made anew begins no cluster, which would be an empty
one. Then the applications, then the balancers. Lead {site} to
{public}; the balancers ask Let's Encrypt for its certificate by themselves, every half hour until
they have it. Who opens https://{site}/ first is asked for the code CLAIM_CODE: on an application's
machine, in /etc/microblog/microblog.env.
"""
_DIGITALOCEAN = """\
  Make three images: ./build.py publish digitalocean IMAGE for app, database and balancer; note their numbers.
  Networking > VPC: make one, and in it the machines:

{calls}

  A VPC gives its addresses itself. Write them into FLEET.toml (doctl compute droplet list --format
  Name,PrivateIPv4), have this made again, and tell each machine, in the order above:

{told}

  The balancers' shared address: a reserved IP; /etc/fleet/take on each balancer (see below) calls
      doctl compute reserved-ip-action assign RESERVED-IP DROPLET-ID
  Firewall: in the VPC all is allowed, from elsewhere 80 and 443 to the balancers, and 22 from where you are.
"""
_LINODE = """\
  Make three images: ./build.py publish linode IMAGE for app, database and balancer; their numbers:
  linode-cli images list. Networking > VPC: make a subnet that has the addresses above. Then:

{calls}

  The balancers' shared address is one of the VPC's, for machines alone: for visitors, an address of the first
  balancer, shared with the second (linode-cli networking ip-share), which /etc/fleet/take (see below) takes.
"""
_AWS = """\
  Make three images: ./build.py publish aws IMAGE for app, database and balancer; note their AMIs.
  VPC: a subnet that has the addresses above; a security group within which all is allowed, and from elsewhere
  ports 80 and 443 to the balancers, and 22 from where you are. Then:

{calls}

  The balancers' shared address: an elastic IP; /etc/fleet/take on each balancer (see below) calls
      aws ec2 associate-address --allow-reassociation --allocation-id ALLOCATION --instance-id INSTANCE
"""
_LATER = """\
A machine more, or less
-----------------------

One at a time, while ./build.py fleet status says that all are good:

  ./build.py fleet add FLEET.toml NAME --kind app --address ADDRESS
  ./build.py fleet remove FLEET.toml NAME

write this folder anew, and those that run are told, one after the other (ssh -J goes through a balancer):

{told}

One that is new: go through these lines from the first to the last. Where its own stands, begin it as those
above, and go on when fleet status says that it is good. Those before it have to let it in: a database that
nobody lets in does not start, and a balancer that the others do not know takes the shared address beside
them. Those after it lead visitors to it.

One database becomes three: write both into FLEET.toml by hand, and have this made again in the place of fleet
add. Then as above, one after the other. One balancer becomes two: write shared = "ADDRESS" into FLEET.toml,
before its tables, then fleet add; when both are good, lead {site} to that address.

One that is to go: switch it off (sudo poweroff), then tell all that stay. No database has to be restarted.
Then delete it: the fleet's secrets are on its disk. Where it was the last of the databases, the nightly
copies are on it, too: take them first.

When the shared address moves
-----------------------------

keepalived takes it by announcing it in the network. Where a provider has addresses moved by a call instead,
put that call into an executable file /etc/fleet/take on each balancer: it is run on the one that takes over.
"""


def text(fleet: Fleet) -> str:
    """The whole file."""
    rows = "".join(f"  {one.kind:<9} {one.name:<16} {one.address}\n" for one in fleet.machines)
    balancer = fleet.of("balancer")[0].name
    public = "the shared address" if fleet.shared else f"the public address of {balancer}"
    told = _each(fleet, lambda one: f"ssh {one.address} sudo fleet-machine --told < {one.name}.yaml")
    return "\n".join([
        *_titled(f"The fleet of {fleet.site}", "="), rows,
        _BEGIN.format(site=fleet.site, public=public),
        *_titled("DigitalOcean"), _DIGITALOCEAN.format(calls=_each(fleet, _droplet), told=told),
        *_titled("Linode"), _LINODE.format(calls=_each(fleet, _linode)),
        *_titled("AWS"), _AWS.format(calls=_each(fleet, _instance)),
        _LATER.format(site=fleet.site, told=told),
    ])  # fmt: skip


def _titled(title: str, line: str = "-") -> tuple[str, str, str]:
    return title, line * len(title), ""


def _each(fleet: Fleet, call: Callable[[Machine], str]) -> str:
    return "\n".join(f"      {call(one)}" for one in fleet.machines)


def _droplet(machine: Machine) -> str:
    return (
        f"doctl compute droplet create {machine.name} --image {_image(machine)} --size s-2vcpu-4gb"
        " --region REGION --vpc-uuid VPC --ssh-keys KEY"
    )


def _linode(machine: Machine) -> str:
    return (
        f"linode-cli linodes create --label {machine.name} --image private/{_image(machine)}"
        " --type g6-standard-2 --region REGION --interfaces.purpose public --interfaces.purpose vpc"
        f" --interfaces.subnet_id SUBNET --interfaces.ipv4.vpc {machine.address}"
        f' --metadata.user_data "$(base64 -w0 {machine.name}.yaml)"'
    )


def _instance(machine: Machine) -> str:
    return (
        f"aws ec2 run-instances --image-id {_image(machine)} --instance-type t3.medium --subnet-id SUBNET"
        f" --security-group-ids GROUP --private-ip-address {machine.address}"
        f" --user-data file://{machine.name}.yaml"
    )


def _image(machine: Machine) -> str:
    return f"{machine.kind.upper()}-IMAGE"
