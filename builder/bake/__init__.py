"""Baking an image on a base with Packer, in a machine or in a chroot. Reaches all that stands before it."""
