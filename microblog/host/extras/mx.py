"""Where a domain's mail goes: its MX records, asked of the machine's own name servers (RFC 1035)."""

import secrets
import socket
import struct
from pathlib import Path

_RESOLV = Path("/etc/resolv.conf")
_PORT = 53
_SECONDS = 3.0
_TRIES = 2
_MX, _IN = 15, 1
_NO_ERROR, _NO_SUCH_NAME = 0, 3
_TRUNCATED = 0x0200


def hosts(domain: str) -> "list[str] | None":
    """The servers that take a domain's mail.

    :return: none where the DNS knows of none; None where no name server answers.
    """
    for server in _servers() * _TRIES:
        try:
            answer = _ask(server, _question(domain))
            code, found = _parse(answer)
        except (OSError, ValueError, IndexError, struct.error):
            continue
        if code in (_NO_ERROR, _NO_SUCH_NAME):
            return found
    return None


def _servers() -> list[str]:
    """resolv.conf(5)."""
    try:
        lines = _RESOLV.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"] or ["127.0.0.1"]


def _question(domain: str) -> bytes:
    name = b"".join(bytes([len(label)]) + label for label in domain.encode("ascii").split(b"."))
    # One question, for recursion.
    return (
        struct.pack("!6H", secrets.randbelow(65536), 0x0100, 1, 0, 0, 0)
        + name
        + struct.pack("!BHH", 0, _MX, _IN)
    )


def _ask(server: str, question: bytes) -> bytes:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(_SECONDS)
        udp.connect((server, _PORT))
        udp.send(question)
        answer = udp.recv(65535)
    if answer[:2] == question[:2] and not struct.unpack_from("!H", answer, 2)[0] & _TRUNCATED:
        return answer
    # Too long for one packet; and a packet that answers something else is nobody's.
    with socket.create_connection((server, _PORT), timeout=_SECONDS) as tcp, tcp.makefile("rwb") as stream:
        stream.write(struct.pack("!H", len(question)) + question)
        stream.flush()
        return stream.read(struct.unpack("!H", stream.read(2))[0])


def _parse(answer: bytes) -> tuple[int, list[str]]:
    """:return: the answer's code, and the servers, those to be asked first at the beginning."""
    _, flags, questions, answers, _, _ = struct.unpack_from("!6H", answer)
    place = 12
    for _ in range(questions):
        _, place = _name(answer, place)
        place += 4
    found = []
    for _ in range(answers):
        _, place = _name(answer, place)
        kind, _, _, length = struct.unpack_from("!HHIH", answer, place)
        place += 10
        if kind == _MX:
            preference = struct.unpack_from("!H", answer, place)[0]
            found.append((preference, _name(answer, place + 2)[0]))
        place += length
    return flags & 0x000F, [host for _, host in sorted(found)]


def _name(answer: bytes, place: int) -> tuple[str, int]:
    """A name, which may end with a pointer to where its rest is (4.1.4). :return: it, and what follows."""
    labels: list[str] = []
    after = 0
    # Each pointer costs a step: one that leads in circles ends.
    for _ in range(128):
        length = answer[place]
        if length >= 0xC0:
            after = after or place + 2
            place = struct.unpack_from("!H", answer, place)[0] & 0x3FFF
            continue
        place += 1
        if not length:
            return ".".join(labels), after or place
        labels.append(answer[place : place + length].decode("ascii", "replace").lower())
        place += length
    raise ValueError("a name without an end")
