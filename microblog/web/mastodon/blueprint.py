"""What the modules of Mastodon's API add their addresses to."""

from flask import Blueprint

blueprint = Blueprint("mastodon", __name__)
