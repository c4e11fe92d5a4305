"""A fleet: what its owner writes of it, its secrets, and what each of its machines is told when it begins."""
