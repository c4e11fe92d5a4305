"""The application, with Microsoft Translator where the tests have put a double of it."""

import os

from microblog import create_app as create
from microblog import translator


def create_app():
    translator.URL = os.environ["TRANSLATOR_URL"]
    return create()
