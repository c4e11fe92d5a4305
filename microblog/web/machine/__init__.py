"""The machine's pages, for administrators: what is root's to do is asked of the agent."""

from microblog import protocol
from microblog.web.machine import elsewhere
from microblog.web.machine.views import blueprint, init_app

# What takes larger requests than forms are.
UPLOADS = {"machine.upload_piece": protocol.PIECE_MAX}

__all__ = ["UPLOADS", "blueprint", "elsewhere", "init_app"]
