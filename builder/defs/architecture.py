"""The architectures that images are made for."""

NATIVE = {"amd64": ("x86_64",), "arm64": ("aarch64", "arm64")}
"""Build machines, as platform.machine() names them, that run each one's programs themselves."""
