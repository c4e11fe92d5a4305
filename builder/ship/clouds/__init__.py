"""The clouds that an image can be published to, a module each. What they offer is in ``cloud.Cloud``."""
