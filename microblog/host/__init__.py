"""What the ``microblog`` command does to a server. Nothing here imports Flask."""
