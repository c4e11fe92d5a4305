"""Emulated machines: starting an image, looking at it, checking it. Reaches all that stands before it."""
