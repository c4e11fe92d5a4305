"""How a composed base's disk is laid out: a module each, found by its name; ``assemble`` writes it."""
