"""Updates that take themselves back, by hand and by night. Reaches backups and what is below.

``microblog update`` is made ready by the version that is installed, and ended by a copy of it: what comes
may not even start. Its journal says what is done next, so that a power cut is ended by the next boot.
"""
