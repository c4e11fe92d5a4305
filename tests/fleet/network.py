"""A network of a fleet's own: each machine is a network namespace with an address, at one bridge.

So a machine can be cut off, one way or both ways, and its address can move to another one.
"""

import itertools
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from whole import whole

from builder.core.command import program
from builder.core.needs import Program

NEEDS = (
    Program("ip", "iproute2"),
    Program("nft", "nftables"),
)


_NO_ARP = """table arp cut {
 chain inward { type filter hook input priority 0; policy drop; }
 chain outward { type filter hook output priority 0; policy drop; }
}
"""


def _ip(*arguments: str) -> None:
    subprocess.run([program("ip", "iproute2"), *arguments], check=True, capture_output=True)


class Place:
    """Where a machine's processes run.

    :ivar address: its own; of this computer, its loopback's.
    """

    def __init__(self, address: str = "127.0.0.1", namespace: str = "") -> None:
        self.address, self._namespace = address, namespace

    @property
    def alone(self) -> bool:
        """Whether it is a machine with a network of its own: no other one has its ports."""
        return bool(self._namespace)

    def command(self, command: "Sequence[str | os.PathLike[str]]") -> "list[str | os.PathLike[str]]":
        """A command as it is run there."""
        inside = [program("ip", "iproute2"), "netns", "exec", self._namespace] if self._namespace else []
        return [*inside, *command]

    def cut(self, *, inward: bool = True, outward: bool = True, kernel: bool = False) -> None:
        """Drop what comes in, what goes out, or both.

        :param kernel: also what its kernel asks and answers by itself, without an IP address (ARP): nobody
            is told any more whose its addresses are.
        """
        chains = [
            f"chain {name} {{ type filter hook {hook} priority 0; policy drop;\n {device} lo accept\n }}"
            for name, hook, device, wanted in (
                ("inward", "input", "iif", inward),
                ("outward", "output", "oif", outward),
            )
            if wanted
        ]
        self._nft("table inet cut {\n" + "\n".join(chains) + "\n}\n" + (_NO_ARP if kernel else ""))

    def mend(self) -> None:
        # Of that which is not there: made first.
        self._nft("delete table inet cut\ntable arp cut\ndelete table arp cut\n")

    def allow(self, rules: Iterable[str], *ports: int) -> None:
        """Have a firewall, or another one: who may come in beside this computer, as ufw(8) takes it.

        :param ports: where everybody may.
        """
        lines = ["iif lo accept", "ct state established,related accept", "meta l4proto icmp accept"]
        lines += [f"ip saddr {self.address.rpartition('.')[0]}.1 accept"]
        lines += [f"tcp dport {port} accept" for port in ports]
        for rule in rules:
            found = re.fullmatch(r"(proto tcp )?from (\S+)(?: to any port (\S+))?", rule)
            assert found and bool(found[1]) == bool(found[3]), rule
            to = f" tcp dport {{ {found[3]} }}" if found[3] else ""
            lines.append(f"ip saddr {found[2]}{to} accept")
        inward = "type filter hook input priority 0; policy drop;\n" + "\n".join(lines)
        # In one step: nobody comes in between.
        self._nft(
            "table inet allowed\ndelete table inet allowed\n"
            f"table inet allowed {{ chain inward {{ {inward}\n}}\n}}\n"
        )

    def allow_all(self) -> None:
        """Have no firewall."""
        self._nft("table inet allowed\ndelete table inet allowed\n")

    def _nft(self, rules: str) -> None:
        command = self.command([program("nft", "nftables"), "-f", "-"])
        subprocess.run(command, input=rules, text=True, check=True, capture_output=True)


class Network:
    """:ivar prefix: of its addresses."""

    # Those of two at the same time are not the same ones.
    _counter = itertools.count(os.getpid())

    def __init__(self, stack: ExitStack) -> None:
        number = next(self._counter)
        self._stack, self._bridge, self.prefix = stack, f"mb{number}", f"10.77.{number % 250}"
        self._last = 1

    def make(self) -> None:
        with whole():
            _ip("link", "add", self._bridge, "type", "bridge")
            self._stack.callback(_ip, "link", "delete", self._bridge)
        _ip("address", "add", f"{self.prefix}.1/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def join(self) -> Place:
        """A machine more."""
        self._last += 1
        namespace, outer = f"{self._bridge}-{self._last}", f"{self._bridge}v{self._last}"
        with whole():
            _ip("netns", "add", namespace)
            # Its end of the cable goes with it, and the other end with that one.
            self._stack.callback(_ip, "netns", "delete", namespace)
        _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", outer, "master", self._bridge, "up")
        address = f"{self.prefix}.{self._last}"
        for arguments in (
            ("address", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", namespace, *arguments)
        return Place(address, namespace)


@contextmanager
def network() -> Iterator[Network]:
    """A network, without machines; this computer is in it, too. It takes root."""
    with ExitStack() as stack:
        made = Network(stack)
        made.make()
        yield made
