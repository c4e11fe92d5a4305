"""The first minutes of a new site: its owner claims it, and answers a few questions."""

from microblog.web.first_run.gate import init_app
from microblog.web.first_run.views import blueprint

__all__ = ["blueprint", "init_app"]
