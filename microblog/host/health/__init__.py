"""Whether all is well, for people and for monitors. Reaches backups and what is below."""
