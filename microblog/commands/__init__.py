"""Groups of the ``microblog`` command, a module each."""
