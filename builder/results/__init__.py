"""What was made: where it is, what its manifest says, its bill of materials, its signature.

Reaches core, defs, disk, bases.
"""
