"""A small social network for your own server.

Importing this costs next to nothing: the command line does it on slow machines, and
Flask with its extensions comes in with :func:`create_app` alone.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from microblog.config import Config

    __version__: str

__all__ = ["__version__", "create_app"]


def create_app(config: "Config | None" = None) -> "Flask":
    """The application, ready to serve.

    :param config: its settings; read from the env file and the environment when not given.
    :raises microblog.errors.HostError: if a setting is missing or wrong.
    """
    from microblog.config import Config
    from microblog.web import build_app

    return build_app(config or Config.load())


def __getattr__(name: str) -> str:
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    """The version in setup.cfg: in a checkout from the file itself, else as it was installed."""
    from configparser import ConfigParser
    from pathlib import Path

    # The file first: a checkout may stand beside an older, installed package.
    setup = ConfigParser()
    setup.read(Path(__file__).resolve().parent.parent / "setup.cfg", encoding="utf-8")
    if setup.get("metadata", "name", fallback=None) == "microblog":
        return setup.get("metadata", "version")

    from importlib.metadata import version

    return version("microblog")
