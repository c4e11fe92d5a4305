"""The providers that an image can be published with: a module each, found by its name; it has a ``CLOUD``."""
