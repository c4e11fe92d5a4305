"""The Raspberry Pi's card and ``microblog.txt``. Reaches backups and what is below."""
