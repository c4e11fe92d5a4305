"""The Raspberry Pi's card and ``microblog.txt``. Reaches updates and what is below."""
