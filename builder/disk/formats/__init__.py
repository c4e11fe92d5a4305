"""The forms that a disk's file can have: a module each, found by its name; it has a ``FORMAT``."""
