"""Disks as files: partitions, file systems, formats, and how a cloud image and a card are laid out.

Reaches core and defs.
"""
