"""The application, with Microsoft Translator and the machine's agent where the tests have put them."""

import os
from pathlib import Path

from microblog import create_app as create
from microblog import own_authority, protocol, translator


def create_app():
    translator.URL = os.environ["TRANSLATOR_URL"]
    agent = Path(os.environ["AGENT"])
    protocol.SOCKET, protocol.SEEN = agent / "socket", agent / "seen.json"
    own_authority.FILE = agent / "authority.json"
    return create()
