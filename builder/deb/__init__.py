"""The Debian package and its repository. Reaches core."""
