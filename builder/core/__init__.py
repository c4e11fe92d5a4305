"""What all else stands on: errors, progress, running programs, the cache, and what is to be installed for it.

Reaches nothing above it.
"""
