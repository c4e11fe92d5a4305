"""What the modules of the tutorial's API add their addresses to."""

from flask import Blueprint

blueprint = Blueprint("api", __name__, url_prefix="/api")
