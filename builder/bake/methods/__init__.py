"""The ways to bake: a module each, found by its name; ``METHOD`` is what it can do."""
