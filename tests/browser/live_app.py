"""The application, with Microsoft Translator and the machine's agent where the tests have put them.

What is set for the site holds at once in each of its processes.
"""

import os
from pathlib import Path

from microblog import create_app as create
from microblog import own_authority, protocol, translator
from microblog.web import site_looks


def create_app():
    site_looks.EVERY = 0.0
    translator.URL = os.environ["TRANSLATOR_URL"]
    agent = Path(os.environ["AGENT"])
    protocol.SOCKET, protocol.SEEN = agent / "socket", agent / "seen.json"
    own_authority.FILE = agent / "authority.json"
    return create()
