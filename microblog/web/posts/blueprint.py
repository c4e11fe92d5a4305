"""Where the pages of posts are."""

from flask import Blueprint

blueprint = Blueprint("posts", __name__)
