"""A name server of a test's own, of the standard library alone: it also runs in a machine.

python3 name_server.py ADDRESS PORT '{"one.example MX": ["10 mx.one.example"]}'
"""

import json
import socket
import struct
import sys

_KINDS = {1: "A", 15: "MX"}
Records = "dict[str, list[str]]"


def _encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def answer(question: bytes, records: Records) -> bytes:
    """A packet that answers one, its names by pointers where that can be."""
    end = question.index(b"\0", 12)
    labels, place = [], 12
    while place < end:
        labels.append(question[place + 1 : place + 1 + question[place]].decode().lower())
        place += 1 + question[place]
    kind = struct.unpack_from("!H", question, end + 1)[0]
    name = ".".join(labels)
    found = records.get(f"{name} {_KINDS.get(kind, kind)}", [])
    known = any(key.split()[0] == name for key in records)
    body = b""
    for text in found:
        if kind == 15:
            preference, _, host = text.partition(" ")
            # In the zone that was asked for: the rest of the name is the question's.
            inside = host.endswith(f".{name}")
            tail = _encoded(host[: -len(name) - 1])[:-1] + b"\xc0\x0c" if inside else _encoded(host)
            data = struct.pack("!H", int(preference)) + tail
        else:
            data = socket.inet_aton(text)
        body += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data
    header = question[:2] + struct.pack("!5H", 0x8180 | (0 if known else 3), 1, len(found), 0, 0)
    return header + question[12 : end + 5] + body


def serve(udp: socket.socket, records: Records) -> None:
    """Answer until it is closed; what cannot be understood is let go."""
    while True:
        try:
            question, who = udp.recvfrom(4096)
        except OSError:
            return
        try:
            udp.sendto(answer(question, records), who)
        except (ValueError, IndexError, struct.error, OSError):
            continue


if __name__ == "__main__":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((sys.argv[1], int(sys.argv[2])))
        serve(bound, json.loads(sys.argv[3]))
